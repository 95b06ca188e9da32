"""Rules of a manifest that somebody edited: told in a sentence, wherever the manifest is read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hostile import broken_documents, victims
from hostile.contained import Contained, judge, leftovers
from hostile.victims import Victim

from stemrw.documents.manifest import load_manifest
from stemrw.documents.rules import RULES
from stemrw.errors import StemrwError

Document = dict[str, Any]
EVERY = 7
"""Every so many of the rules that can be read go through the command line."""
COMMANDS = (
    ["patch", "hardened", "--region", "answer", "--manifest", "edited.json", "-o", "out"],
    ["revert", "hardened", "--region", "main", "--manifest", "edited.json", "-o", "out"],
    ["explain", "hardened", "--manifest", "edited.json", "--json"],
    ["verify", "hardened", "--manifest", "edited.json", "--json"],
    ["diff", "hardened", "--manifest", "edited.json", "--json"],
    ["inspect", "hardened", "--manifest", "edited.json", "--json"],
)
CHANGING = COMMANDS[:2]


@pytest.fixture(scope="module")
def contained() -> Iterator[Contained]:
    with Contained() as worker:
        yield worker


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    return victims.build("fixed", tmp_path_factory.mktemp("victim"))


@pytest.fixture
def manifest(victim: Victim, contained: Contained, tmp_path: Path) -> Document:
    """That of `hardened` in the folder, which has two regions."""
    words = ["patch", str(victim.path), "--region", "victim", "--region", "main", "-o", "hardened"]
    assert contained.call(words, cwd=tmp_path).status == 0
    document: Document = json.loads((tmp_path / "hardened.manifest.json").read_text())
    return document


def _rules(victim: Victim) -> dict[str, Document]:
    """One well-formed rule of each kind, about code of the victim."""
    at, end = victim.region, victim.region + 8
    place = {"address": hex(at), "end": hex(end)}
    fields: dict[str, Document] = {
        "budget": {"ticks": 5, "cpu_milliseconds": 1, "memory_bytes": 9, "after_rescue": True},
        "stack": {},
        "guard-site": {**place, "below": True, "outer": [hex(at)]},
        "guard-access": place,
        "set-errno": {"address": hex(at), "value": 2},
        "set-out": {"argument": 1, "offset": -8, "size": 4, "value": -1},
        "escalate": {"same": 1, "alike": 1, "cpu_milliseconds": 1},
        "predicate": {"address": hex(at), "require": "rdi < 64"},
        "strategy": {"address": hex(at), "name": "oblivious", "limit": 3},
        "slice": {**place, "resume": hex(end)},
        "slice-exit": {"address": hex(end), "slice": hex(at)},
        "slice-set": {"address": hex(at), "register_name": "rax", "value": -1},
    }
    assert set(fields) == {rule.model_fields["kind"].default for rule in RULES}
    return {kind: {"kind": kind, "why": "edited", **rest} for kind, rest in fields.items()}


def _with(manifest: Document, *, region: list[Document], file: list[Document]) -> Document:
    """With rules of the outermost region that stays, and of the file."""
    keep = next(i for i, each in enumerate(manifest["regions"]) if each["symbol"] == "victim")
    regions = [{**each, "rules": region} if i == keep else each for i, each in enumerate(manifest["regions"])]
    return {**manifest, "regions": regions, "rules": file}


def _standing(victim: Victim, manifest: Document, rule: Document) -> Document:
    """With one rule, where rules of its kind stand, and what it cannot be without."""
    known = _rules(victim)
    slices = [known["slice"]] if rule["kind"] in ("slice-exit", "slice-set") else []
    of_file = next(each.of_file for each in RULES if each.model_fields["kind"].default == rule["kind"])
    return _with(manifest, region=[] if of_file else [*slices, rule], file=[rule] if of_file else [])


def _complaint(document: Document, path: Path) -> str:
    """What is said when it is read; nothing where it can be."""
    path.write_text(json.dumps(document))
    try:
        load_manifest(path)
    except StemrwError as error:
        assert error.hint and str(error).isprintable() and len(str(error)) < 1500
        return str(error)
    return ""


def test_rules_of_every_kind_can_be_read(victim: Victim, manifest: Document, tmp_path: Path) -> None:
    for rule in _rules(victim).values():
        assert not _complaint(_standing(victim, manifest, rule), tmp_path / "edited.json")


def test_every_value_of_every_rule(victim: Victim, manifest: Document, contained: Contained, tmp_path: Path) -> None:
    """Broken in every way that documents are; what still can be read is used by every command that reads it."""
    refused, taken = 0, []
    for kind, rule in _rules(victim).items():
        for name, text in broken_documents.broken(rule):
            edited = json.dumps(_standing(victim, manifest, {"kind": kind, "why": "PLACE"}))
            edited = edited.replace(json.dumps({"kind": kind, "why": "PLACE"}), text.decode("utf-8", "surrogateescape"))
            (tmp_path / "edited.json").write_bytes(edited.encode("utf-8", "surrogateescape"))
            try:
                load_manifest(tmp_path / "edited.json")
            except StemrwError as error:
                refused += 1
                assert error.hint and str(error).isprintable() and len(str(error)) < 1500, (name, error)
            else:
                taken.append((f"{kind}: {name}", edited))
    assert refused > 500 and len(taken) > 100
    for (name, edited), command in zip(taken[::EVERY], cycle(COMMANDS)):
        (tmp_path / "edited.json").write_text(edited)
        _use(command, name, contained, tmp_path)


ODD = (0, 1, -1, 0x3FF000, (1 << 31) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def test_addresses_that_are_nowhere(victim: Victim, manifest: Document, contained: Contained, tmp_path: Path) -> None:
    """No rule about code that the file does not have is written into a file."""
    for kind, rule in _rules(victim).items():
        for field in ("address", "end", "resume", "slice", "outer"):
            if field not in rule:
                continue
            for value in ODD:
                edited = _standing(victim, manifest, {**rule, field: [value] if field == "outer" else value})
                if _complaint(edited, tmp_path / "edited.json"):
                    continue
                status = _use(CHANGING[value % 2], f"{kind}: {field} is {value:#x}", contained, tmp_path)
                assert status == 2, (kind, field, value)


def _use(command: list[str], name: str, contained: Contained, folder: Path) -> int | None:
    """Call it; whatever it does, it does it in good order."""
    before = {entry.name for entry in folder.iterdir()}
    outcome = contained.call(command, cwd=folder)
    problem = judge(outcome, answers=(0, 1) if command[0] in ("verify", "diff") else (0,))
    assert not problem, f"{name}: {command[0]}: {problem}"
    left = leftovers(folder, before)
    assert outcome.status == 0 or not left, (name, command[0], left)
    for extra in left:
        (folder / extra).unlink()
    return outcome.status


@pytest.mark.parametrize(
    ("region", "file", "says"),
    [
        (["stack"], [], "about the whole file"),
        (["guard-site"], [], "about the whole file"),
        ([], ["budget"], "belongs to a region"),
        ([], ["predicate"], "belongs to a region"),
        (["budget", "budget"], [], "contradict"),
        (["escalate", "escalate"], [], "contradict"),
        (["strategy", "strategy"], [], "contradict"),
        (["set-errno", "set-errno"], [], "contradict"),
        (["set-out", "set-out"], [], "contradict"),
        (["slice", "strategy"], [], "there cannot be another"),
        (["slice-exit"], [], "is not there"),
        (["slice-set"], [], "is not there"),
    ],
)
def test_what_cannot_stand_there(
    victim: Victim, manifest: Document, tmp_path: Path, region: list[str], file: list[str], says: str
) -> None:
    known = _rules(victim)
    changed = {"budget": "ticks", "escalate": "same", "strategy": "limit", "set-errno": "value", "set-out": "value"}
    rules = [known[kind] for kind in region]
    if len(region) == 2 and region[0] == region[1]:
        rules[1] = {**rules[1], changed[region[0]]: 77}
    said = _complaint(_with(manifest, region=rules, file=[known[kind] for kind in file]), tmp_path / "edited.json")
    assert says in said


def test_a_region_twice(manifest: Document, contained: Contained, tmp_path: Path) -> None:
    twice = {**manifest, "regions": [*manifest["regions"], manifest["regions"][0]]}
    assert "listed twice" in _complaint(twice, tmp_path / "edited.json")
    for command in CHANGING:
        assert _use(command, "twice", contained, tmp_path) == 2
