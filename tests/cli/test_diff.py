"""`stemrw diff`: what it shows is true, what it vouches for is so, and what was tampered with is found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stemrw.cli import call
from stemrw.documents.difference import Difference
from stemrw.documents.manifest import Manifest, load_manifest
from stemrw.documents.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
DASH = Path("/usr/bin/dash")
Capture = pytest.CaptureFixture[str]
HOSTILE = "<script>alert(1)</script>\"'&\x1b[2J\u202e"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with dash, hardened in two functions, and its manifest."""
    monkeypatch.chdir(tmp_path)
    report = {"binary": str(DASH), "address": "0x4d6e", "class": "divide"}
    Path("report").write_text(json.dumps(report))
    assert call(["patch", str(DASH), "--fault", "report", "-o", "hard", "--events", "/var/log/events"]) == 0
    return tmp_path


@pytest.fixture
def shown(capsys: Capture) -> Callable[..., tuple[int, Any]]:
    """Runs `stemrw diff --json`; gives the exit status and the document."""

    def run(*arguments: str | Path) -> tuple[int, Any]:
        capsys.readouterr()
        status = call(["diff", "--json", *map(str, arguments)])
        return status, json.loads(capsys.readouterr().out)

    return run


def outcomes(document: Any) -> dict[str, str]:
    return {check["name"]: check["outcome"] for check in document["checks"]}


def change(path: Path, offset: int, new: bytes | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(new or b"x")] = new if new is not None else bytes([data[offset] ^ 1])
    path.write_bytes(data)


def edit(**fields: Any) -> None:
    """Change the manifest, which is sound but for that."""
    path = Path("hard.manifest.json")
    path.write_text(load_manifest(path).model_copy(update=fields).to_json())


def manifest() -> Manifest:
    return load_manifest(Path("hard.manifest.json"))


@pytest.mark.parametrize("files", [("hard",), (str(DASH), "hard")])
def test_sound_file_is_accounted_for(files: tuple[str, ...], shown: Callable[..., tuple[int, Any]]) -> None:
    status, document = shown(*files)
    assert (status, document["verdict"]) == (0, "accounted")
    assert set(outcomes(document).values()) == {"ok"}
    assert ("attributes" in outcomes(document)) == (len(files) == 2)
    Difference.model_validate(document)
    known = manifest()
    assert document["original"]["sha256"] == known.input.sha256
    assert document["hardened"]["sha256"] == known.output.sha256
    assert [region["address"] for region in document["regions"]] == [hex(region.address) for region in known.regions]


def test_ranges_are_those_in_which_the_files_differ(shown: Callable[..., tuple[int, Any]]) -> None:
    old, new = DASH.read_bytes(), Path("hard").read_bytes()
    differs = {i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b}
    _, document = shown("hard")
    covered: set[int] = set()
    for each in document["changes"]:
        where = slice(each["offset"], each["offset"] + each["size"])
        assert (old[where].hex(), new[where].hex()) == (each["original"], each["hardened"])
        covered.update(range(where.start, where.stop))
    assert differs and differs <= covered
    assert document["identical"] == len(old) - len(differs)
    at = len(old)
    for each in document["appended"]:  # without gap or overlap, to the last byte
        assert each["offset"] == at and each["what"] != "not known to the manifest"
        at += each["size"]
    assert at == len(new)


def test_code_is_what_objdump_says(shown: Callable[..., tuple[int, Any]]) -> None:
    _, document = shown("hard")
    for name, part in ((str(DASH), "before"), ("hard", "after"), ("hard", "gate"), ("hard", "displaced")):
        for entry in document["entries"]:
            lines = entry[part]
            start = int(lines[0]["address"], 0)
            stop = int(lines[-1]["address"], 0) + len(lines[-1]["code"]) // 2
            command = ["objdump", "-d", "-w", "-M", "intel", f"--start-address={start}", f"--stop-address={stop}", name]
            listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            decoded = re.findall(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{2} )+)", listing, re.MULTILINE)
            shown_lines = [(line["address"][2:], line["code"]) for line in lines]
            assert [(at, code.replace(" ", "")) for at, code in decoded] == shown_lines


def test_headers_are_what_readelf_says(shown: Callable[..., tuple[int, Any]]) -> None:
    _, document = shown("hard")
    listing = subprocess.run(["readelf", "-lSW", "hard"], capture_output=True, text=True, check=True).stdout
    payload = document["appended"][1]["address"]
    assert any(h["table"] == "program" and f"LOAD r-x at {payload}" in h["after"] for h in document["headers"])
    assert re.search(rf"LOAD +0x[0-9a-f]+ 0x0*{payload[2:]} .* R E ", listing)
    names = [h["after"].split()[0] for h in document["headers"] if h["table"] == "section" and h["before"] is None]
    assert names == [".stemrw", ".stemrw.state"] and all(name in listing for name in names)


def offset_of(kind: str) -> int:
    """A place in the hardened file."""
    known = manifest()
    region = next(patch for patch in known.patches if patch.kind == "region")
    base = known.payload.offset - known.payload.address
    return {
        "code": 0x6000,
        "data": known.input.size - 64,
        "entry": region.address + 1,
        "gate": region.gate + base + 5,
        "displaced": region.displaced + base,
        "runtime": known.payload.offset + 0x4000,
        "header of the payload": known.payload.offset + 16,
        "program header": 0x40 + 56 + 4,
        "section header": known.output.size - 20,
        "last byte": known.output.size - 1,
    }[kind]


KINDS = ["code", "data", "entry", "gate", "displaced", "runtime", "header of the payload", "program header",
         "section header", "last byte"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_bit_is_found(kind: str, shown: Callable[..., tuple[int, Any]]) -> None:
    """Also if the manifest is given the new file's hash, as one would who wants to hide it."""
    offset = offset_of(kind)
    change(Path("hard"), offset)
    status, document = shown(DASH, "hard")
    assert (status, document["verdict"]) == (1, "unaccounted")
    assert outcomes(document)["manifest"] == "failed"
    assert (outcomes(document)["bytes"] == "failed") == (kind in ("code", "data"))
    digest = document["hardened"]["sha256"]
    edit(output=manifest().output.model_copy(update={"sha256": digest}))
    status, document = shown(DASH, "hard")
    assert (status, outcomes(document)["manifest"], outcomes(document)["rebuilt"]) == (1, "ok", "failed")
    text = next(check["text"] for check in document["checks"] if check["name"] == "rebuilt")
    assert text.endswith(f"from offset {offset:#x} on")


@pytest.mark.parametrize("more", [b"", b"\0" * 64, b"appended"])
def test_cut_or_appended(more: bytes, shown: Callable[..., tuple[int, Any]]) -> None:
    data = Path("hard").read_bytes()
    Path("hard").write_bytes(data + more if more else data[:-8])
    status, document = shown(DASH, "hard")
    assert status == 1 and outcomes(document)["rebuilt"] == "failed"
    if more:
        assert document["appended"][-1]["what"] == ("not known to the manifest" if more.strip(b"\0") else "padding")


def test_manifest_that_does_not_know_the_original_bytes(shown: Callable[..., tuple[int, Any]]) -> None:
    changes = manifest().changes
    last = changes[-1].model_copy(update={"original": "00" * len(changes[-1].data)})
    edit(changes=(*changes[:-1], last))
    status, document = shown(DASH, "hard")
    assert status == 1 and outcomes(document)["bytes"] == "failed"
    assert [each["accounted"] for each in document["changes"]] == [*(True for _ in changes[1:]), False]


def test_manifest_that_tells_of_another_return_value(shown: Callable[..., tuple[int, Any]]) -> None:
    """What a reviewer reads is what the file does."""
    region = manifest().regions[0].model_copy(update={"return_value": 7})
    edit(regions=(region, *manifest().regions[1:]))
    status, document = shown("hard")
    assert status == 1 and outcomes(document)["rebuilt"] == "failed"


def test_manifest_that_is_not_the_one_of_the_file(shown: Callable[..., tuple[int, Any]]) -> None:
    """Also where the file is sound: the manifest is what other tools believe."""
    edit(unobserved=("sigaction",))
    status, document = shown(DASH, "hard")
    assert status == 1 and outcomes(document)["rebuilt"] == "failed"
    assert "another manifest: unobserved" in json.dumps(document["checks"])


@pytest.mark.parametrize(("offset", "size"), [(5, 7), (0, 0), (1 << 62, 1 << 62)])
def test_payload_that_cannot_be_true(offset: int, size: int, shown: Callable[..., tuple[int, Any]]) -> None:
    edit(payload=manifest().payload.model_copy(update={"offset": offset, "size": size}))
    status, document = shown(DASH, "hard")
    assert status == 1 and document["appended"][0]["offset"] == DASH.stat().st_size


def test_file_of_another_version_is_not_rebuilt(shown: Callable[..., tuple[int, Any]], capsys: Capture) -> None:
    edit(tool_version="0.0.1")
    status, document = shown("hard")
    assert (status, document["verdict"]) == (0, "accounted-not-rebuilt")
    assert outcomes(document)["rebuilt"] == "skipped" and document["made_by"] == "0.0.1"
    assert call(["diff", "hard"]) == 0
    assert "As far as the manifest goes" in capsys.readouterr().out.splitlines()[1]


def test_without_manifest_everything_is_shown_and_nothing_accounted_for(
    shown: Callable[..., tuple[int, Any]], capsys: Capture
) -> None:
    Path("hard.manifest.json").unlink()
    status, document = shown(DASH, "hard")
    assert (status, document["verdict"]) == (1, "unaccounted")
    assert document["changes"] and not any(each["accounted"] for each in document["changes"])
    assert call(["diff", "hard"]) == 2
    assert "--manifest names it" in capsys.readouterr().err


def test_two_different_files(shown: Callable[..., tuple[int, Any]]) -> None:
    status, document = shown("/usr/bin/env", "hard")
    assert status == 1 and outcomes(document)["original"] == "failed"
    assert len(document["changes"]) < 1100 and len(json.dumps(document)) < 1 << 20


def test_other_mode_is_said_and_does_not_matter(shown: Callable[..., tuple[int, Any]]) -> None:
    Path("hard").chmod(0o700)
    status, document = shown(DASH, "hard")
    assert (status, outcomes(document)["attributes"], document["hardened"]["mode"]) == (0, "differs", "0700")


def test_text_answers_first_and_is_plain(capsys: Capture) -> None:
    capsys.readouterr()
    assert call(["diff", "hard"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "Can this be signed off?" and printed.splitlines()[1].startswith("Yes: ")
    assert all(c.isprintable() or c == "\n" for c in printed) and not set("│┃━─") & set(printed)
    known = manifest()
    for text in (known.input.sha256, known.output.sha256, *known.regions[0].why, "Everything else is identical"):
        assert text in printed


def test_hostile_names_are_escaped(folder: Path, capsys: Capture) -> None:
    region = manifest().regions[0].model_copy(update={"symbol": HOSTILE, "why": (HOSTILE,)})
    edit(regions=(region, *manifest().regions[1:]))
    call(["diff", "hard", "--html", "page.html"])
    call(["diff", "hard"])
    assert not set("\x1b\u202e") & set(capsys.readouterr().out)
    page = Path("page.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page and not set("\x1b\u202e") & set(page)


class Strict(HTMLParser):
    """Complains of tags that are not closed in order, and of whatever a browser would fetch or run."""

    VOID = frozenset(("meta", "br", "link", "img", "input", "hr"))
    ALLOWED = frozenset(
        "html head meta title style body header h1 small div br strong p main h2 h3 h4 ul li span b table thead tr th "
        "tbody td section pre footer".split()
    )

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in self.ALLOWED
        assert {name for name, _ in attributes} <= {"class", "title", "data-name", "lang", "charset", "name",
                                                     "content", "http-equiv"}  # fmt: skip
        assert len({name for name, _ in attributes}) == len(attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("tampered", [False, True])
def test_page_is_well_formed_self_contained_and_has_the_facts(tampered: bool) -> None:
    if tampered:
        change(Path("hard"), 0x6000)
    assert call(["diff", str(DASH), "hard", "--html", "page.html"]) == int(tampered)
    page = Path("page.html").read_text()
    parser = Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == [] and page.startswith("<!DOCTYPE html>\n")
    assert not re.search(r"url\(|@import|https?:|javascript:|src=", page)
    assert "default-src 'none'" in page and "prefers-color-scheme: dark" in page
    known = manifest()
    words = " ".join(parser.words.split())
    facts = [known.input.sha256, *known.regions[0].why, hex(known.regions[0].address), ".stemrw.state"]
    facts += [f"{patch.gate:x}" for patch in known.patches] + ["Everything else is identical"]
    facts += ["No", "0x6000"] if tampered else ["Yes", known.output.sha256, "Sign-off"]
    assert [fact for fact in facts if fact not in words] == []


@pytest.mark.parametrize("options", ["", "--json"])
def test_answer_stays_where_the_reader_leaves(options: str) -> None:
    program = f"{sys.executable} -c 'from stemrw.cli import main; main()'"
    command = f"{program} diff {DASH} hard {options} | :; echo ${{PIPESTATUS[0]}}"
    for status in (0, 1):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == (f"{status}\n", "")
        change(Path("hard"), 0x6000)


ERRORS = [
    (["diff", "gone"], "gone: cannot be read"),
    (["diff", str(DASH)], "cannot read the manifest"),
    (["diff", "report", "hard"], "report: this is not an ELF file"),
    (["diff", "hard", "hard", "hard"], "one or two files"),
    (["diff", "hard", "--manifest", "report"], "not a manifest"),
    (["diff", "hard", "--html", "no/such/folder"], "cannot be written"),
    (["diff"], "Missing argument"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS)
def test_error_is_one_sentence(arguments: list[str], message: str, capsys: Capture) -> None:
    capsys.readouterr()
    assert call(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("stemrw: ") and printed.err.count("\n") == 1
    assert message in printed.err


def test_original_that_cannot_be_restored(capsys: Capture) -> None:
    change(Path("hard"), 0x6000)
    assert call(["diff", "hard"]) == 2
    assert "stemrw diff ORIGINAL HARDENED shows where" in capsys.readouterr().err


def test_documentation_describes_every_field() -> None:
    text = (ROOT / "docs" / "diff.md").read_text()
    schema = Difference.model_json_schema(by_alias=True, mode="serialization")
    elsewhere = {
        "PlannedRegion",
        "ValueCandidate",
        "RescuePoint",
        *(rule.__name__ for rule in RULES),
    }  # docs/manifest.md
    parts = [schema, *(part for name, part in schema["$defs"].items() if name not in elsewhere)]
    assert not {name for part in parts for name in part["properties"] if f"`{name}`" not in text}


def test_rules_are_shown_where_they_stand(shown: Callable[..., tuple[int, Any]], capsys: Capture) -> None:
    """Those of a region and of the whole file, in words, on the page, and as a part of what was appended."""
    options = ["--fault", "report", "--guard", "stack", "--errno", "EIO", "--events", "/var/log/events"]
    assert call(["patch", str(DASH), *options, "-o", "ruled"]) == 0
    status, document = shown("ruled")
    assert status == 0 and [rule["kind"] for rule in document["rules"]] == ["stack"]
    parts = {part["what"]: part["size"] for part in document["appended"]}
    rules = len(document["rules"]) + sum(len(region["rules"]) for region in document["regions"])
    assert parts["rules"] == 64 * rules and parts["path of the events file"] == len("/var/log/events") + 1
    assert parts["functions that are no targets of pointers"] > 0 and parts["displaced instructions"] < 256
    assert call(["diff", "ruled", "--html", "page"]) == 0 == call(["diff", "ruled"])
    said = capsys.readouterr().out
    assert "rule set-errno: value 5 (--errno EIO)" in said and "  rule stack (--guard stack)" in said
    assert "rule set-errno" in Path("page").read_text() and "Rules of the whole file" in Path("page").read_text()
