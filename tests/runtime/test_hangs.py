"""Hangs, from the report to the rescue: wherever the loop is, the command ends, and good work is as before."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Tool, execute, recoveries, symbol_address

HERE = Path(__file__).parent
SMALL_LOG = ["sh", "-c", 'ulimit -v 300000; exec "$@"', "sh"]
"""In front of a command: no room for a log of the usual size."""


def _compile(source: Path, out: Path, *flags: str | Path) -> Path:
    compiler = ["gcc"] if shutil.which("gcc") else [sys.executable, "-m", "ziglang", "cc"]
    subprocess.run([*compiler, "-O1", "-w", source, "-o", out, *flags], check=True)
    return out


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hangs")
    _compile(HERE / "hangs" / "spin.c", folder / "libspin.so", "-shared", "-fPIC")
    return _compile(HERE / "hangs" / "hangs.c", folder / "hangs", f"-L{folder}", "-lspin", "-Wl,-rpath,$ORIGIN")


@pytest.fixture
def hardened(tool: Tool, program: Path, tmp_path: Path, where: str) -> Path:
    """The program, hardened by the report of a hang."""
    report, out = tmp_path / "report.json", tmp_path / "hangs"
    command = [*tool.command, "run", "--cpu-limit", "0.3", "-o", report, "--", program, where]
    subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert json.loads(report.read_text())["class"] == "hang"
    tool.patch(program, out, "--fault", report, "--return", "1" if where == "main" else "-1")
    shutil.copy(program.parent / "libspin.so", tmp_path)
    return out


@pytest.mark.parametrize(
    ("where", "region", "said"),
    [
        ("itself", "inner", b"inner gave up\n"),
        ("around", "around", b"around gave up\n"),
        ("library", "library", b"library gave up\n"),
        ("recursion", "recursion", b"recursion gave up\n"),
        ("main", "main", b""),
    ],
)
def test_hang_ends_where_the_loop_is(
    program: Path, hardened: Path, tmp_path: Path, where: str, region: str, said: bytes
) -> None:
    events = tmp_path / "events"
    found = execute([hardened, where], environment={"STEMRW_EVENTS": str(events)})
    assert (found.returncode, found.stdout) == (int(where == "main"), said)
    first = recoveries(events)[0]
    assert (first["class"], int(first["region"], 0)) == ("hang", symbol_address(program, region))
    assert execute([hardened, "fine"]) == execute([program, "fine"])


@pytest.mark.parametrize("where", ["itself"])
def test_safety_net_ends_a_caller_that_tries_for_ever(hardened: Path, tmp_path: Path, where: str) -> None:
    events = tmp_path / "events"
    found = execute([hardened, "again"], environment={"STEMRW_EVENTS": str(events)})
    assert (found.returncode, found.stdout) == (0, b"outer gave up\n")
    assert {event["class"] for event in recoveries(events)} == {"hang"}
    assert len({event["region"] for event in recoveries(events)}) == 2


@pytest.mark.parametrize("where", ["itself"])
def test_safety_net_has_all_the_time_while_nothing_was_rescued(
    hardened: Path, program: Path, tmp_path: Path, where: str
) -> None:
    events = tmp_path / "events"
    found = execute([hardened, "slow"], environment={"STEMRW_EVENTS": str(events)})
    assert found == execute([program, "slow"])
    assert recoveries(events) == []


@pytest.mark.parametrize("where", ["itself"])
def test_safety_net_ends_a_caller_that_fills_the_log_after_a_rescue(hardened: Path, tmp_path: Path, where: str) -> None:
    events = tmp_path / "events"
    found = execute([*SMALL_LOG, hardened, "fills"], environment={"STEMRW_EVENTS": str(events)})
    assert (found.returncode, found.stdout) == (0, b"outer gave up\n")
    assert [event["class"] for event in recoveries(events)] == ["hang", "memory-exhaustion"]


@pytest.mark.parametrize("where", ["itself"])
def test_caller_that_fills_the_log_without_any_rescue_goes_on(
    hardened: Path, program: Path, tmp_path: Path, where: str
) -> None:
    events = tmp_path / "events"
    found = execute([*SMALL_LOG, hardened, "fills-fine"], environment={"STEMRW_EVENTS": str(events)})
    assert found == execute([*SMALL_LOG, program, "fills-fine"])
    assert recoveries(events) == []
