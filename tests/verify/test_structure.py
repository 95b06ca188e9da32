"""The structure: files that were hardened pass, and each kind of damage is found by the check that is there for it."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Tool, manifest_path
from verify.conftest import Hardened, check_named, failed

from stemrw.cli import call
from stemrw.documents.schemas import schema
from stemrw.elf import Elf
from stemrw.elf.constants import PF_W, PF_X, PT_DYNAMIC, PT_LOAD
from stemrw.runtime import load_image
from stemrw.verify import Wishes, verify

MODES = ("pie", "nopie", "static", "static-pie", "shared")
Sample = Callable[[str], Hardened]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("mode", MODES)
def test_hardened_file_passes(sample: Sample, mode: str) -> None:
    found = sample(mode).verify()
    assert found.passed
    assert {check.outcome for check in found.checks} == {"passed"}, found.checks
    assert found.sha256 == sample(mode).manifest.output.sha256


def test_system_file_passes_with_events_path(tool: Tool, tmp_path: Path) -> None:
    original, path = Path("/usr/bin/dash"), tmp_path / "dash.hardened"
    tool.patch(original, path, "--region", "main", "--region", "0x4d30", "--events", "/var/log/events.jsonl")
    assert failed(Hardened(original, path).verify()) == set()


def _table_entry(hardened: Hardened, field: str, patch: int = -1) -> int:
    """File offset of a field of a struct patch: the region's is the last of this sample's."""
    image = load_image()
    raw = hardened.path.read_bytes()
    header = image.structs["payload_header"].unpack(raw, hardened.manifest.payload.offset)
    table = int.from_bytes(header["patch_table"], "little")
    count = int.from_bytes(header["patch_count"], "little")
    return hardened.payload_field("patch", field, table + image.structs["patch"].size * (patch % count))


def _region(hardened: Hardened) -> tuple[int, int, int]:
    """File offsets of entry, gate and displaced instructions of the region."""
    (patch,) = [patch for patch in hardened.manifest.patches if patch.kind == "region"]
    return hardened.offset(patch.address), hardened.offset(patch.gate), hardened.offset(patch.displaced)


def _load_header(hardened: Hardened, *, writable: bool) -> int:
    """File offset of the program header of the last PT_LOAD, or of the last writable one."""
    elf = Elf.open(hardened.path)
    loads = [i for i, s in enumerate(elf.segments) if s.kind == PT_LOAD and (not writable or s.flags & 2)]
    return int(elf.segment_table) + 56 * loads[-1]


def _dynamic_value(hardened: Hardened) -> int:
    elf = Elf.open(hardened.path)
    return 8 + next(segment.offset for segment in elf.segments if segment.kind == PT_DYNAMIC)


def _section_header(hardened: Hardened, name: str) -> int:
    elf = Elf.open(hardened.path)
    return int(elf.section_table) + 64 * [section.name for section in elf.sections].index(name)


DAMAGES: dict[str, tuple[Callable[[Hardened], int], bytes, set[str]]] = {
    "a byte of data": (lambda h: h.offset(Elf.open(h.path).entry + 40), b"\x27", {"changes"}),
    "a value of the dynamic section": (_dynamic_value, b"\x02", {"changes", "second parser (lief)"}),
    "the payload is writable": (lambda h: _load_header(h, writable=False) + 4, b"\7", {"W^X", "program headers"}),
    "the payload is elsewhere": (lambda h: _load_header(h, writable=False) + 32, b"\1", {"program headers"}),
    "data is executable": (lambda h: _load_header(h, writable=True) + 4, b"\7", {"W^X", "program headers"}),
    "the state ends earlier": (lambda h: _load_header(h, writable=True) + 40, b"\1", {"program headers"}),
    "a section is another": (lambda h: _section_header(h, ".text") + 16, b"\1", {"sections"}),
    "our section is elsewhere": (lambda h: _section_header(h, ".stemrw") + 16, b"\1", {"sections"}),
    "the magic": (lambda h: h.payload_field("payload_header", "magic"), b"X", {"payload header"}),
    "where the state is": (lambda h: h.payload_field("payload_header", "state_address"), b"\x40", {"payload header"}),
    "how many patches": (lambda h: h.payload_field("payload_header", "patch_count"), b"\1", {"payload header"}),
    "the plan": (lambda h: h.payload_field("payload_header", "plan_hash"), b"\0\0\0", {"payload header"}),
    "the runtime": (
        lambda h: h.manifest.payload.offset + load_image().symbols["rescue"], b"\xc3", {"runtime image"},
    ),
    "what a rescue returns": (lambda h: _table_entry(h, "return_value"), b"\x7b", {"patch table"}),
    "the original bytes in the table": (lambda h: _table_entry(h, "original"), b"\x90", {"patch table"}),
    "the order of the table": (
        lambda h: _table_entry(h, "address", 0), b"\xff" * 6, {"patch table"},
    ),
    "a boundary": (lambda h: _table_entry(h, "boundaries") + 1, b"\1", {"displaced instructions"}),
    "the jump at the entry": (lambda h: _region(h)[0] + 1, b"\0", {"entries"}),
    "no jump at the entry": (lambda h: _region(h)[0], b"\xcc", {"entries"}),
    "the gate's stack": (lambda h: _region(h)[1] + 4, b"\x88", {"gates"}),
    "the gate's way to the runtime": (lambda h: _region(h)[1] + 15, b"\0", {"gates"}),
    "the gate's way back": (lambda h: _region(h)[1] + 30, b"\0", {"gates"}),
    "a displaced instruction": (lambda h: _region(h)[2] + 1, b"\x11", {"displaced instructions"}),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_by_its_check(sample: Sample, tmp_path: Path, damage: str) -> None:
    where, new, expected = DAMAGES[damage]
    hardened = sample("nopie")
    found = failed(hardened.damaged(tmp_path, where(hardened), new).verify())
    assert expected <= found
    assert "sha256" not in found


def test_unannounced_change_is_found_without_the_original_too(sample: Sample, tmp_path: Path) -> None:
    hardened = sample("nopie")
    copy = hardened.damaged(tmp_path, hardened.offset(Elf.open(hardened.path).entry + 40), b"\x27")
    found = verify(copy.path, copy.manifest, Wishes(replays=("x",)), progress=lambda _what: None)
    assert check_named(found, "sha256").details[0] == "the manifest does not lead back to the original"
    assert check_named(found, "x").outcome == "skipped"


def test_changed_file_without_changed_manifest(sample: Sample, tmp_path: Path) -> None:
    hardened = sample("pie")
    copy = hardened.damaged(tmp_path, len(hardened.path.read_bytes()) - 1, b"\x55")
    manifest_path(copy.path).write_text(manifest_path(hardened.path).read_text())
    assert "sha256" in failed(copy.verify())


@pytest.mark.parametrize("size", [0, 3, 64, 5000, -1])
def test_cut_off_file_is_no(sample: Sample, tmp_path: Path, capsys: Capture, size: int) -> None:
    hardened = sample("pie")
    copy = tmp_path / "cut"
    copy.write_bytes(hardened.path.read_bytes()[:size])
    status = call(["verify", str(copy), "--manifest", str(manifest_path(hardened.path)), "--emulate"])
    printed = capsys.readouterr()
    assert status == (2 if not size else 1), printed
    assert "Traceback" not in printed.err
    assert ("is empty" in printed.err) if not size else ("failed" in printed.out)


@pytest.mark.parametrize("command", ["verify", "diff"])
def test_original_that_has_nothing_writable(sample: Sample, tmp_path: Path, capsys: Capture, command: str) -> None:
    other = tmp_path / "other"
    flags = ["-nostdlib", "-static", "-Wl,--build-id=none", "-x", "assembler"]
    subprocess.run(["gcc", *flags, "-o", other, "-"], input=b".globl _start\n_start: hlt\n", check=True)
    assert not any(load.flags & PF_W for load in Elf.open(other).loads)
    hardened = str(sample("pie").path)
    arguments = (
        ["verify", hardened, "--original", str(other)] if command == "verify" else ["diff", str(other), hardened]
    )
    assert call(arguments) == 1
    assert "sha256" in capsys.readouterr().out


def test_manifest_that_announces_too_much(sample: Sample, tmp_path: Path) -> None:
    """An announced change of a place that hardening has no business with."""
    hardened = sample("nopie")
    at = hardened.offset(Elf.open(hardened.path).entry + 40)
    copy = hardened.damaged(tmp_path, at, b"\x27")
    change = {"offset": at, "original": hardened.original.read_bytes()[at : at + 1].hex(), "what": "function entry"}
    manifest = json.loads(manifest_path(copy.path).read_text())
    manifest["changes"] = sorted([*manifest["changes"], change], key=lambda each: each["offset"])
    manifest_path(copy.path).write_text(json.dumps(manifest))
    check = check_named(copy.verify(), "changes")
    assert check.outcome == "failed" and "none that hardening makes" in check.details[0]


@pytest.mark.parametrize(
    ("field", "check"),
    [("state_address", "state"), ("state_size", "state"), ("address", "program headers"), ("size", "runtime image")],
)
def test_manifest_that_is_wrong_about_the_payload(sample: Sample, tmp_path: Path, field: str, check: str) -> None:
    hardened = sample("nopie")
    copy = hardened.damaged(tmp_path, 8, b"\1")
    manifest = json.loads(manifest_path(copy.path).read_text())
    manifest["payload"][field] = {"state_address": "0x404020", "address": "0x1000"}.get(field, 64)
    manifest_path(copy.path).write_text(json.dumps(manifest))
    assert check in failed(copy.verify())


def test_original_may_be_given(sample: Sample, tmp_path: Path, capsys: Capture) -> None:
    hardened = sample("pie")
    assert call(["verify", str(hardened.path), "--original", str(hardened.original)]) == 0
    other = tmp_path / "other"
    other.write_bytes(sample("nopie").original.read_bytes())
    assert call(["verify", str(hardened.path), "--original", str(other), "--emulate"]) == 1
    assert "the original is not at hand" in capsys.readouterr().out


def test_file_of_another_runtime_build(sample: Sample, tmp_path: Path) -> None:
    """Its image is still checked against the manifest; what needs the image's symbols is left out."""
    hardened = sample("nopie")
    image = load_image()
    at = image.symbols["class_name"] if "class_name" in image.symbols else len(image.data) - 8
    copy = hardened.damaged(tmp_path, hardened.manifest.payload.offset + at, b"\x5a")
    built = bytearray(image.data)
    built[at] = 0x5A
    manifest = json.loads(manifest_path(copy.path).read_text())
    manifest["runtime"]["sha256"] = hashlib.sha256(built).hexdigest()
    manifest_path(copy.path).write_text(json.dumps(manifest))
    found = copy.verify(Wishes(emulate=True))
    assert found.passed
    assert check_named(found, "all functions").outcome == "skipped"


def test_without_lief_its_check_is_skipped(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lief", None)
    found = sample("pie").verify()
    assert found.passed
    assert check_named(found, "second parser (lief)").outcome == "skipped"


def test_json_is_the_document(sample: Sample, capsys: Capture) -> None:
    assert call(["verify", str(sample("pie").path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "stemrw.verification"
    assert set(document) == set(json.loads(schema("verification"))["properties"])


def test_no_manifest(sample: Sample, tmp_path: Path, capsys: Capture) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(sample("pie").path.read_bytes())
    assert call(["verify", str(copy)]) == 2
    assert "cannot read the manifest" in capsys.readouterr().err


def test_segment_flags_in_damages_are_what_they_seem(sample: Sample) -> None:
    """The damages above are made by offset: this one says that they hit."""
    hardened = sample("nopie")
    at = _load_header(hardened, writable=False)
    kind, flags = struct.unpack_from("<II", hardened.path.read_bytes(), at)
    assert (kind, flags & PF_X) == (PT_LOAD, PF_X)
