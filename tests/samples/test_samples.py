"""Every sample, in every link mode: it dies as it should, and hardened it lives on as if the bad record had not been.

The oracle is the sample itself on the same records without the bad one: every line that it then prints, checksum of its
memory included, must be printed by the hardened program that did see the bad record.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from build import STRIPPED_MODES, Built, build
from catalogue import BAD, BY_NAME, MODES, SAMPLES, Sample
from harness import Outcome, Tool, execute, recoveries, region_addresses, sha256, symbol_address

GOOD_RECORDS = ("alpha", "", "beta", "gamma", "beta")
BAD_RECORDS = ("alpha", BAD, "", "beta", BAD, BAD, "gamma", "beta")


LOCKED = (
    "docs/limits.md: a static program's allocator is not known: its first lock ends the checkpoint, with other threads"
)
LIMITS = {
    **{
        (name, "static", "threads"): LOCKED
        for name in (
            "abort",
            "allocator",
            "atomic",
            "big-region",
            "containers",
            "exceptions",
            "kernel-buffers",
            "mutex",
        )
    },
    **{
        ("trapped-syscall", mode, "main"): "docs/limits.md: behind a filter that the program has installed, only code "
        "that has run in a region before is emulated"
        for mode in ("pie", "nopie", "static", "shared")
    },
}
"""What is known not to be survived yet, by (sample, mode, driver), and why; a limit that is lifted fails the test."""

NAMED = {("double-free", "static-pie")}
"""Where the region must be named: nothing tells a stripped static program's free() from its own functions."""


def _combinations() -> Iterator[Any]:
    every = [(sample.name, mode, "main", "gcc") for sample in SAMPLES for mode in MODES]
    drivers = [
        (sample.name, mode, driver, "gcc")
        for sample in SAMPLES
        for driver in sample.drivers[1:]
        for mode in ("pie", "static")
    ]
    zig = [(name, mode, "main", "zig") for name in ("null-write", "big-region") for mode in ("pie", "static")]
    zig.append(("exceptions", "pie", "main", "zig"))  # once: zig compiles its C++ library first, for minutes
    for combination in every + drivers + zig:
        limit = LIMITS.get(combination[:3])
        marks = [pytest.mark.xfail(reason=limit, strict=True, raises=AssertionError)] if limit else []
        yield pytest.param(*combination, marks=marks, id="-".join(combination))


def _died(outcome: Outcome, sample: Sample, driver: str) -> bool:
    number = int(sample.signal)
    return outcome.returncode == (128 + number if driver == "server" else -number)


def _state(line: bytes) -> bytes:
    return line.rsplit(b" ", 1)[-1]


def _check_output(hardened: bytes, oracle: bytes) -> None:
    """Lines of good records are the oracle's; a bad record is refused and leaves the state as it was."""
    lines, bad = [], 0
    for line in hardened.splitlines():
        if line.startswith(BAD.encode()):
            assert b": refused state " in line, line
            assert _state(line) == _state(lines[-1]), "the bad record changed the state"
            bad += 1
        else:
            lines.append(line)
    assert bad == BAD_RECORDS.count(BAD)
    assert lines == oracle.splitlines()


def _placed(built: Built, hardened: Path, folder: Path) -> Path:
    """The program to run so that the hardened file is in use."""
    if built.target == built.program:
        return hardened
    shutil.copy2(built.program, folder / built.program.name)
    os.replace(hardened, folder / built.target.name)
    os.replace(f"{hardened}.manifest.json", folder / f"{built.target.name}.manifest.json")
    return folder / built.program.name


@pytest.mark.parametrize(("name", "mode", "driver", "toolchain"), list(_combinations()))
def test_survives_as_if_the_bad_record_had_not_been(
    tool: Tool, tmp_path: Path, name: str, mode: str, driver: str, toolchain: str
) -> None:
    sample = BY_NAME[name]
    built = build(sample, tmp_path / "built", mode=mode, driver=driver, toolchain=toolchain)
    oracle = execute([built.program, *GOOD_RECORDS])
    assert oracle.returncode == 0
    assert _died(execute([built.program, *BAD_RECORDS]), sample, driver)

    report = tmp_path / "report.json"
    tool.report(report, [built.program, *BAD_RECORDS])
    found = json.loads(report.read_text())
    assert found["class"] in sample.classes
    assert found["signal"] == sample.signal.name

    out = tmp_path / "out"
    out.mkdir()
    hardened = out / "hardened"
    entry = symbol_address(built.symbols, sample.region)
    wanted = ("--region", hex(entry)) if (name, mode) in NAMED else ("--fault", report)
    manifest = tool.patch(built.target, hardened, *wanted)
    assert region_addresses(manifest) & {entry, symbol_address(built.symbols, "process")}
    program = _placed(built, hardened, out)
    target = program if built.target == built.program else out / built.target.name

    events = tmp_path / "events.jsonl"
    survived = execute([program, *BAD_RECORDS], environment={"STEMRW_EVENTS": str(events)})
    assert survived.returncode == 0, survived
    _check_output(survived.stdout, oracle.stdout)
    recorded = recoveries(events)
    assert len(recorded) == BAD_RECORDS.count(BAD)
    for event in recorded:
        assert int(event["region"], 0) in region_addresses(manifest)
        assert event["class"] in sample.classes
        assert int(event["pc"], 0) > 0

    unharmed = tmp_path / "unharmed.jsonl"
    good = execute([program, *GOOD_RECORDS], environment={"STEMRW_EVENTS": str(unharmed)})
    assert good == oracle
    assert not recoveries(unharmed)

    tool.revert(target, tmp_path / "reverted")
    assert sha256(tmp_path / "reverted") == sha256(built.target)


def test_own_handler_is_called_for_faults_outside_the_region(tool: Tool, tmp_path: Path) -> None:
    """The program's handler still has the last word on a fault that no region covers."""
    built = build(BY_NAME["own-handler"], tmp_path / "built", mode="nopie")
    hardened = tmp_path / "hardened"
    tool.patch(built.target, hardened, "--region", "note")
    died = execute([hardened, "alpha", BAD])
    assert died == execute([built.program, "alpha", BAD])
    assert b"last word" in died.stderr


def test_default_action_still_kills_outside_the_region(tool: Tool, tmp_path: Path) -> None:
    """A fault that no region covers ends the program by the same signal as before."""
    built = build(BY_NAME["divide-by-zero"], tmp_path / "built", mode="pie")
    hardened = tmp_path / "hardened"
    tool.patch(built.target, hardened, "--region", hex(symbol_address(built.symbols, "note")))
    assert execute([hardened, "alpha", BAD]) == execute([built.program, "alpha", BAD])


def test_return_option_overrides_the_evidence(tool: Tool, tmp_path: Path) -> None:
    """`--return` decides what the caller sees."""
    built = build(BY_NAME["null-read"], tmp_path / "built", mode="nopie")
    hardened = tmp_path / "hardened"
    manifest = tool.patch(built.target, hardened, "--region", "process", "--return", "777")
    assert manifest["regions"][0]["address"] == hex(symbol_address(built.symbols, "process"))
    assert b"!bad: 777 state " in execute([hardened, "alpha", BAD]).stdout


def test_events_option_names_the_file_at_patch_time(tool: Tool, tmp_path: Path) -> None:
    """`--events FILE` needs no environment; the environment goes before it."""
    built = build(BY_NAME["null-write"], tmp_path / "built", mode="nopie")
    hardened, fixed, other = tmp_path / "hardened", tmp_path / "fixed.jsonl", tmp_path / "other.jsonl"
    tool.patch(built.target, hardened, "--region", "process", "--events", fixed)
    execute([hardened, "alpha", BAD, BAD])
    assert len(recoveries(fixed)) == 2
    execute([hardened, "alpha", BAD], environment={"STEMRW_EVENTS": str(other)})
    assert (len(recoveries(fixed)), len(recoveries(other))) == (2, 1)


def test_same_patch_gives_same_bytes(tool: Tool, tmp_path: Path) -> None:
    """No time, path or random number gets into a hardened file."""
    built = build(BY_NAME["null-read"], tmp_path / "built", mode="nopie")
    for name in ("one", "two"):
        tool.patch(built.target, tmp_path / name, "--region", "process")
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two")


@pytest.mark.parametrize("mode", MODES)
def test_stripped_modes_have_no_symbols(tmp_path: Path, mode: str) -> None:
    """What is said about stripped programs is tested on stripped programs."""
    built = build(BY_NAME["null-read"], tmp_path, mode=mode)
    listing = subprocess.run(["nm", built.target], capture_output=True, text=True, check=False)
    assert (listing.stdout == "") == (mode in STRIPPED_MODES)
