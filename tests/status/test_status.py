"""`stemrw status` says of a live process what really happened in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from build import build
from catalogue import BAD, BY_NAME
from harness import Tool, symbol_address

from stemrw.cli import call
from stemrw.documents.status import ModuleStatus
from stemrw.errors import SensorError
from stemrw.runtime import load_image
from stemrw.status import _process, read_status

SAMPLE = BY_NAME["divide-by-zero"]
FAULTS = 20
"""More than the ring holds."""


@contextmanager
def _running(command: Sequence[str | Path], records: Sequence[str]) -> Iterator[tuple[int, IO[bytes]]]:
    """A process that has answered these records and waits for more; its pid and where to put them."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            for record in records:
                process.stdin.write(record.encode() + b"\n")
                process.stdin.flush()
                assert process.stdout.readline()
            yield process.pid, process.stdin
        finally:
            process.stdin.close()


def _hardened(tool: Tool, folder: Path, mode: str) -> tuple[Path, Path, int]:
    """The program to run, the file in it that is hardened, and its region."""
    built = build(SAMPLE, folder / "built", mode=mode)
    region = symbol_address(built.symbols, "process")
    out = folder / "out"
    out.mkdir()
    target = out / built.target.name
    tool.patch(built.target, target, "--region", hex(region))
    if built.program != built.target:
        shutil.copy2(built.program, out)
    return out / built.program.name, target, region


def _only(pid: int) -> ModuleStatus:
    status = read_status(pid)
    assert status is not None and status.pid == pid
    (module,) = status.modules
    return module


@pytest.mark.parametrize("mode", ["pie", "nopie", "static", "shared"])
def test_counters_and_ring_tell_what_happened(tool: Tool, tmp_path: Path, mode: str) -> None:
    program, target, region = _hardened(tool, tmp_path, mode)
    with _running([program], ["alpha", BAD, "beta"]) as (pid, _):
        module = _only(pid)
    assert module.path == str(target)
    assert (module.state, module.recoveries, module.degradations, module.reasons) == ("ready", 1, 0, {})
    assert module.threads == 1 and module.translated_bytes and module.log_peak
    (patch,) = [patch for patch in module.patches if patch.kind == "region"]
    assert (patch.function, patch.entries, patch.commits, patch.recoveries) == (region, 3, 2, 1)
    assert patch.translated
    (recovery,) = module.recent
    assert (recovery.number, recovery.fault_class, recovery.region) == (1, "divide", region)
    assert (recovery.thread, recovery.in_region_module, recovery.irreversible) == (pid, True, 0)
    assert recovery.pc in range(region, region + 200)
    assert recovery.address == recovery.pc + module.bias
    assert recovery.log_bytes


def test_manifest_and_process_agree(tool: Tool, tmp_path: Path) -> None:
    program, target, _ = _hardened(tool, tmp_path, "pie")
    manifest = json.loads(Path(f"{target}.manifest.json").read_text())
    with _running([program], ["alpha"]) as (pid, _):
        module = _only(pid)
    assert module.plan_sha256 == manifest["plan_sha256"]
    assert hex(module.payload) == manifest["payload"]["address"]
    assert [hex(patch.function) for patch in module.patches] == [patch["function"] for patch in manifest["patches"]]


def test_ring_holds_the_last_ones(tool: Tool, tmp_path: Path) -> None:
    program, _, _ = _hardened(tool, tmp_path, "nopie")
    with _running([program], [BAD] * FAULTS) as (pid, _):
        module = _only(pid)
    assert module.recoveries == FAULTS
    slots = load_image().constants["RECOVERY_RING"]
    assert [recovery.number for recovery in module.recent] == list(range(FAULTS, FAULTS - slots, -1))
    assert module.recent[0].symbol == "process"  # this mode has symbols


def test_two_modules_and_a_deleted_file(tool: Tool, tmp_path: Path) -> None:
    program, library, region = _hardened(tool, tmp_path, "shared")
    tool.patch(program, program, "--region", "main")
    with _running([program], ["alpha", "beta"]) as (pid, _):
        os.unlink(program)
        status = read_status(pid)
    assert status is not None
    first, second = status.modules
    assert (first.path, second.path) == (f"{program} (deleted)", str(library))
    assert [patch.entries for patch in first.patches if patch.kind == "region"] == [1]
    assert [patch.function for patch in second.patches if patch.kind == "region"] == [region]


def test_forked_child_has_counters_of_its_own(tool: Tool, tmp_path: Path) -> None:
    hardened = tmp_path / "dash"
    tool.patch(Path("/usr/bin/dash"), hardened, "--region", "main")
    script = "read first; echo $first; (read second; echo $second; read third); true"
    with _running([hardened, "-c", script], ["one", "two"]) as (pid, _):
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        parent, forked = _only(pid), _only(int(child))
    assert (parent.state, forked.state) == ("ready", "ready")
    assert forked.payload == parent.payload and forked.bias == parent.bias
    assert forked.translated_bytes > parent.translated_bytes


def test_printed_for_people_and_for_programs(tool: Tool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, target, region = _hardened(tool, tmp_path, "pie")
    with _running([program], ["alpha", BAD]) as (pid, _):
        assert call(["status", str(pid)]) == 0
        printed = capsys.readouterr().out
        assert call(["status", str(pid), "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
    for expected in (str(target), hex(region), "1 recovery, ", "divide"):
        assert expected in printed
    assert "\x1b" not in printed
    assert document["schema"] == "stemrw.status"
    assert document["modules"][0]["recent"][0]["class"] == "divide"


def test_watch_ends_with_the_process(tool: Tool, tmp_path: Path) -> None:
    program, _, _ = _hardened(tool, tmp_path, "pie")
    with _running([program], [BAD]) as (pid, records):
        command = [*tool.command, "status", str(pid), "--watch", "0.1", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            first = json.loads(watching.stdout.readline())
            records.write(BAD.encode() + b"\n")
            records.flush()
            while json.loads(watching.stdout.readline())["modules"][0]["recoveries"] != 2:
                pass
            records.close()
            assert watching.wait(60) == 0
    assert first["modules"][0]["recoveries"] == 1


def test_not_hardened_is_no(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["status", str(os.getpid())]) == 1
    assert "no file in it is hardened" in capsys.readouterr().out


def test_no_such_process(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    assert call(["status", str(gone.pid)]) == 2
    assert capsys.readouterr().err == f"stemrw: there is no process {gone.pid}\n"


def test_permission_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("stemrw.status._process.os.open", refused)
    assert call(["status", "1"]) == 2
    assert "may not be read" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused(tool: Tool, tmp_path: Path) -> None:
    program, _, _ = _hardened(tool, tmp_path, "nopie")
    with _running([program], ["alpha"]) as (pid, _):
        child = os.fork()
        if not child:
            os.setgid(65534)
            os.setuid(65534)
            try:
                read_status(pid)
            except SensorError as error:
                os._exit(0 if "may not be read" in str(error) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_other_layout_is_an_error(tool: Tool, tmp_path: Path) -> None:
    program, target, _ = _hardened(tool, tmp_path, "nopie")
    manifest = json.loads(Path(f"{target}.manifest.json").read_text())
    at = load_image().structs["payload_header"].fields["abi_version"][0]
    with target.open("r+b") as file:
        file.seek(manifest["payload"]["offset"] + at)
        file.write(bytes([99]))
    with _running([program], ["alpha"]) as (pid, _), pytest.raises(SensorError, match="layout 99, this stemrw reads"):
        read_status(pid)


class _Torn(_process.Process):
    """A process whose newest recovery changes under the reader for so many reads of the ring."""

    ring = range(0)
    field = 0
    times = 0

    def read(self, address: int, size: int) -> bytes:
        data = bytearray(super().read(address, size))
        ring = _Torn.ring
        if address <= ring.start and ring.stop <= address + size and _Torn.times:
            _Torn.times -= 1
            data[ring.start - address + _Torn.field] ^= _Torn.times + 1  # never the same twice
        return bytes(data)


@pytest.mark.parametrize(("torn", "unreadable"), [(2, 0), (100, 1)])
def test_entry_that_changes_while_it_is_read(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: int, unreadable: int
) -> None:
    """A torn entry is read again, and left out if it never keeps still; the others are shown."""
    image = load_image()
    program, target, _ = _hardened(tool, tmp_path, "nopie")
    state = int(json.loads(Path(f"{target}.manifest.json").read_text())["payload"]["state_address"], 0)
    offset, size = image.structs["state"].fields["ring"]
    newest = 2 * image.structs["recovery"].size
    _Torn.ring = range(state + offset, state + offset + size)
    _Torn.field = newest + image.structs["recovery"].fields["log_bytes"][0]
    with _running([program], [BAD, BAD, BAD]) as (pid, _):
        whole = _only(pid)
        monkeypatch.setattr("stemrw.status._reader.Process", _Torn)
        monkeypatch.setattr(_Torn, "times", torn)
        found = _only(pid)
    assert found.unreadable == unreadable
    assert found.recent == whole.recent[unreadable:]


def test_entry_that_is_being_written(tool: Tool, tmp_path: Path) -> None:
    """Number 0 with contents: the runtime is at it."""
    program, target, _ = _hardened(tool, tmp_path, "nopie")
    image = load_image()
    state = int(json.loads(Path(f"{target}.manifest.json").read_text())["payload"]["state_address"], 0)
    with _running([program], [BAD, BAD]) as (pid, _):
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(state + image.structs["state"].fields["ring"][0])
            memory.write(bytes(image.structs["recovery"].fields["number"][1]))
        found = _only(pid)
    assert ([recovery.number for recovery in found.recent], found.unreadable) == ([2], 1)


def test_state_that_the_program_has_overwritten(tool: Tool, tmp_path: Path) -> None:
    """Whatever a broken program writes there, in any field, the reader shows it or says so."""
    program, target, _ = _hardened(tool, tmp_path, "nopie")
    image = load_image()
    state = int(json.loads(Path(f"{target}.manifest.json").read_text())["payload"]["state_address"], 0)
    with _running([program], [BAD]) as (pid, _), open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for name, (offset, size) in image.structs["state"].fields.items():
            memory.seek(state + offset)
            kept = memory.read(size)
            memory.seek(state + offset)
            memory.write(b"\xee" * size)
            status = call(["status", str(pid)])
            assert status == (2 if name in ("magic", "abi_version", "status") else 0), name
            memory.seek(state + offset)
            memory.write(kept)
        assert _only(pid).recoveries == 1
