"""Reports and manifests that somebody broke, by accident or on purpose."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import broken_documents, victims
from hostile.contained import Contained, judge, leftovers, unreadable
from hostile.victims import Victim

from stemrw.documents.fault_report import (
    Block,
    FaultReport,
    Frame,
    Hang,
    Instruction,
    Location,
    ModuleInfo,
    Truncation,
    load_report,
)
from stemrw.documents.manifest import load_manifest
from stemrw.documents.profile import load_profile
from stemrw.documents.read import MAX_BYTES
from stemrw.errors import StemrwError

SAMPLED = 40
"""Every so many broken documents goes through the command line too, in a process with limits."""


@pytest.fixture(scope="module")
def contained() -> Iterator[Contained]:
    with Contained() as worker:
        yield worker


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    return victims.build("fixed", tmp_path_factory.mktemp("victim"))


@pytest.fixture(scope="module")
def hardened(victim: Victim, contained: Contained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hardened")
    words = ["patch", str(victim.path), "--region", "victim", "--region", "main", "-o", "out"]
    assert contained.call(words, cwd=folder).status == 0
    return folder / "out"


def full_report(victim: Victim) -> dict[str, Any]:
    """A report with every field."""
    module = ModuleInfo(path=str(victim.path), build_id=None, sha256=None)
    pc = Location(module=module.path, address=victim.region, symbol="victim", function=victim.region)
    report = FaultReport(
        fault_class="divide",
        program=module,
        modules=(module,),
        signal="SIGFPE",
        si_code=1,
        sent_by=1,
        fault_address=0,
        access="read",
        access_size=8,
        block=Block(size=8, offset=-1, allocated=(Frame(**pc.model_dump()),), freed=(Frame(**pc.model_dump()),)),
        instruction=Instruction(code="90", text="nop"),
        registers={"rip": victim.region},
        pc=pc,
        backtrace=(Frame(**pc.model_dump(), return_address=False), Frame(**pc.model_dump())),
        backtrace_truncated=Truncation(innermost=1, total=2),
        backtrace_note="the stack ends",
        hang=Hang(limit="wall", seconds=1, cpu_seconds=1, samples=1, spinning=True),
        command=("victim",),
        cwd="/",
        stdin="/dev/null",
        exe=module.path,
        pid=1,
        tid=1,
        sensor="stemrw",
    )
    document: dict[str, Any] = json.loads(report.to_json())
    return document


def short_report(victim: Victim) -> dict[str, Any]:
    return {
        "schema": "stemrw.fault-report", "version": 1, "binary": str(victim.path), "address": hex(victim.region),
        "function": "victim", "class": "divide", "build_id": "ab", "sha256": "0" * 64,
    }  # fmt: skip


def check(load: Callable[[Path], object], named: list[tuple[str, bytes]], path: Path) -> int:
    """Load each: a document or a sentence.  Gives how many were refused."""
    refused = 0
    for name, text in named:
        path.write_bytes(text)
        try:
            load(path)
        except StemrwError as error:
            refused += 1
            sentence = str(error)
            assert error.file == path and error.hint, (name, sentence)
            assert sentence.isprintable() and len(sentence) < 1500, (name, sentence[:2000])
    return refused


def through_the_tool(contained: Contained, words: list[str], named: list[tuple[str, bytes]], folder: Path) -> None:
    """Each in the file "broken.json" of a folder: done or refused, and if refused, nothing is left behind."""
    before = {entry.name for entry in folder.iterdir()} | {"broken.json"}
    for name, text in named:
        (folder / "broken.json").write_bytes(text)
        outcome = contained.call(words, cwd=folder)
        problem = judge(outcome)
        assert not problem, f"{name}: {problem}"
        left = leftovers(folder, before)
        assert outcome.status == 0 or not left, f"{name}: {left}"
        for extra in left:
            shown = unreadable((folder / extra).read_bytes().decode("utf-8", "replace")) if "json" in extra else None
            assert not shown, f"{name}: {extra} {shown}"
            (folder / extra).unlink()


@pytest.mark.parametrize("form", [full_report, short_report])
def test_reports(
    victim: Victim, contained: Contained, tmp_path: Path, form: Callable[[Victim], dict[str, Any]]
) -> None:
    document = form(victim)
    named = list(broken_documents.broken(document))
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(document))
    load_report(path)  # it is whole before it is broken
    assert check(load_report, named, path) > len(named) // 3
    words = ["patch", str(victim.path), "--fault", "broken.json", "-o", "out"]
    through_the_tool(contained, words, named[:: SAMPLED if form is full_report else SAMPLED // 4], tmp_path)


def test_build_id_of_any_length(victim: Victim, contained: Contained, tmp_path: Path) -> None:
    """It is named in the complaint, and the hint behind it is still read."""
    text = json.dumps({**short_report(victim), "sha256": None, "build_id": "9" * 100_000})
    (tmp_path / "broken.json").write_text(text)
    outcome = contained.call(["patch", victim.path, "--fault", "broken.json", "-o", "out"], cwd=tmp_path)
    assert outcome.status == 2 and not judge(outcome)
    assert "another build" in outcome.stderr and "--force takes the risk" in outcome.stderr


def test_profiles(victim: Victim, contained: Contained, tmp_path: Path) -> None:
    """They name regions by address, and budgets that become rules."""
    region = {"address": hex(victim.region), "symbol": "victim", "entries": 1, "ticks": 1, "memory_bytes": 1,
              "budget_ticks": 10, "budget_memory_bytes": 10}  # fmt: skip
    document = {
        "schema": "stemrw.profile", "version": 1, "command": ["victim"], "status": 0, "processes": 1, "recoveries": 0,
        "binary": {"path": str(victim.path), "sha256": hashlib.sha256(victim.data).hexdigest(), "build_id": None},
        "degradations": 0, "multiple": 10, "regions": [region],
    }  # fmt: skip
    named = list(broken_documents.broken(document))
    assert check(load_profile, named, tmp_path / "broken.json") > len(named) // 3
    words = ["patch", str(victim.path), "--region", "victim", "--profile", "broken.json", "-o", "out"]
    through_the_tool(contained, words, named[:: SAMPLED // 4], tmp_path)


def test_manifests(hardened: Path, contained: Contained, tmp_path: Path) -> None:
    document = json.loads(Path(f"{hardened}.manifest.json").read_text())
    named = list(broken_documents.broken(document))
    assert check(load_manifest, named, tmp_path / "broken.json") > len(named) // 2
    words = ["revert", str(hardened), "--manifest", "broken.json", "-o", "out"]
    through_the_tool(contained, words, named[::SAMPLED], tmp_path)


@pytest.mark.parametrize("load", [load_report, load_manifest])
def test_texts_that_are_no_documents(load: Callable[[Path], object], tmp_path: Path) -> None:
    named = list(broken_documents.broken_texts(b'{"schema": "stemrw.manifest", "version": 1}'))
    assert check(load, named, tmp_path / "broken.json") == len(named)


def test_texts_that_are_no_documents_within_limits(
    victim: Victim, hardened: Path, contained: Contained, tmp_path: Path
) -> None:
    """The same through the command line, which measures time and memory; and one of 100 MB."""
    named = list(broken_documents.broken_texts(b'{"binary": "x", "class": "divide", "address": 1}'))
    named.append(("100 MB", b'{"binary": "' + b"x" * 100_000_000 + b'"}'))
    assert len(named[-1][1]) > MAX_BYTES
    for words in (
        ["patch", str(victim.path), "--fault", "broken.json", "-o", "out"],
        ["revert", str(hardened), "--manifest", "broken.json", "-o", "out"],
    ):
        through_the_tool(contained, words, named, tmp_path)


def test_wrong_values_by_the_hundred_thousand(victim: Victim, contained: Contained, tmp_path: Path) -> None:
    """Each wrong value makes an object that describes it: the number of values is what has to be bounded."""
    report = full_report(victim)
    for key, count in (("backtrace", 260_000), ("command", 500_000), ("modules", 3_000_000)):
        named = [(f"{count} of {key}", json.dumps({**report, key: [1] * count}).encode())]
        words = ["patch", str(victim.path), "--fault", "broken.json", "-o", "out"]
        through_the_tool(contained, words, named, tmp_path)


# What a manifest may say that is well-formed, and wrong


def lies(document: dict[str, Any], size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Manifests of a file of `size` bytes that would make `revert` write something else than the original."""
    changes: list[dict[str, Any]] = document["changes"]

    def with_changes(changed: list[dict[str, Any]]) -> dict[str, Any]:
        return {**document, "changes": changed}

    first, last = changes[0], changes[-1]
    yield "no changes", with_changes([])
    yield "a change is missing", with_changes(changes[1:])
    yield "the last change is missing", with_changes(changes[:-1])
    yield "changes in another order", with_changes(changes[::-1])
    yield "a change is there twice", with_changes([first, *changes])
    yield "changes that overlap", with_changes([first, {**first, "offset": first["offset"] + 1}, *changes[1:]])
    yield "a change of nothing far outside", with_changes([*changes, {**last, "offset": 1 << 62, "original": ""}])
    for where in (size - 1, size, 1 << 31, 1 << 62, (1 << 64) - 1):
        yield f"a change at {where:#x}", with_changes([*changes, {**last, "offset": where, "original": "00" * 8}])
    yield "other bytes", with_changes([{**first, "original": "00" * (len(first["original"]) // 2)}, *changes[1:]])
    yield "longer bytes", with_changes([{**first, "original": first["original"] + "00"}, *changes[1:]])
    for name, value in (("larger", size + 1), ("as large as the output", None), ("nothing", 0), ("huge", 1 << 62)):
        claimed = document["output"]["size"] if value is None else value
        yield f"the original is {name}", {**document, "input": {**document["input"], "size": claimed}}
    for side in ("input", "output"):
        yield f"another sha256 of {side}", {**document, side: {**document[side], "sha256": "0" * 64}}
    both = document["input"]["sha256"]
    yield "output and input are the same", {**document, "output": {**document["output"], "sha256": both}}


def test_manifest_that_lies_makes_nothing_but_the_original(
    victim: Victim, hardened: Path, contained: Contained, tmp_path: Path
) -> None:
    document = json.loads(Path(f"{hardened}.manifest.json").read_text())
    refused = 0
    for name, lie in lies(document, len(victim.data)):
        (tmp_path / "lie.json").write_text(json.dumps(lie))
        outcome = contained.call(["revert", hardened, "--manifest", "lie.json", "-o", "out"], cwd=tmp_path)
        assert not judge(outcome), f"{name}: {judge(outcome)}"
        left = leftovers(tmp_path, {"lie.json"})
        if outcome.status == 0:
            assert (tmp_path / "out").read_bytes() == victim.data, name
            (tmp_path / "out").unlink()
        else:
            refused += 1
            assert not left, f"{name}: {left}"
    assert refused >= 20


REGION_FIELDS = ("address", "size", "return_value", "check_address", "check_class", "symbol", "return_kind")


@pytest.mark.parametrize("field", REGION_FIELDS)
def test_regions_of_an_edited_manifest(hardened: Path, contained: Contained, tmp_path: Path, field: str) -> None:
    """They are used again where another region is added or one is taken out: no value of theirs may hurt."""
    document = json.loads(Path(f"{hardened}.manifest.json").read_text())
    values = [0, 1, -1, 5, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, None, "", "x", broken_documents.HOSTILE]
    for value in values:
        regions = [{**document["regions"][0], field: value}, *document["regions"][1:]]
        (tmp_path / "edited.json").write_text(json.dumps({**document, "regions": regions}))
        for words in (
            ["revert", str(hardened), "--region", "main", "--manifest", "edited.json", "-o", "out"],
            ["patch", str(hardened), "--region", "answer", "--manifest", "edited.json", "-o", "out"],
        ):
            outcome = contained.call(words, cwd=tmp_path)
            assert not judge(outcome), f"{words[0]}, {value!r}: {judge(outcome)}"
            left = leftovers(tmp_path, {"edited.json"})
            assert left == (["out", "out.manifest.json"] if outcome.status == 0 else []), (words[0], value, left)
            for name in left:
                (tmp_path / name).unlink()


def test_pipe_as_report(victim: Victim, contained: Contained, tmp_path: Path) -> None:
    """A report may come out of a pipe, and a pipe that nobody writes to is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    outcome = contained.call(["patch", victim.path, "--fault", "pipe", "-o", "out"], cwd=tmp_path)
    assert outcome.status == 2 and not judge(outcome)
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(writer, json.dumps({"binary": str(victim.path), "address": victim.region, "class": "divide"}).encode())
    os.set_blocking(writer, False)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.close(writer)
    with open(reader, "rb"):
        assert contained.call(["patch", victim.path, "--fault", "pipe", "-o", "out"], cwd=tmp_path).status == 0
