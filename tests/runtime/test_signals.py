"""A program that dies of what no region survives dies as without us: same signal, same registers, at the same place."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import Tool, symbol_address

from stemrw.sense import ptrace

SOURCE = Path(__file__).parent / "deaths" / "deaths.c"
FAULTS = ("load", "store", "divide", "undefined", "trap", "privileged", "wild", "stack", "call")
MANNERS = ("default", "reset", "raise", "ignored", "blocked", "thread")
ADDR_NO_RANDOMIZE = 0x0040000
ELSEWHERE = ("gs_base", "fs_base")  # ours; on the heap of static programs, which lies behind our state
RESUME_FLAG = 1 << 16  # set by the kernel or not, whether single steps were made

Death = tuple[int, list[dict[str, int]]]


def _start_stopped(command: Sequence[str | Path], folder: Path) -> int:
    """A child that stops before it executes the command, at addresses that are the same every time."""
    child = os.fork()
    if child:
        return child
    try:
        ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)
        os.chdir(folder)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execve(command[0], [str(word) for word in command], {"LC_ALL": "C"})
    finally:
        os._exit(127)


def death(command: Sequence[str | Path], folder: Path, *, kill: int = 0) -> Death:
    """Status of a program's end, and all threads' registers at it.  With `kill`, it is sent that once it computes."""
    pid = _start_stopped(command, folder)
    os.waitpid(pid, os.WUNTRACED)
    ptrace.seize(pid)
    os.kill(pid, signal.SIGCONT)
    ends: list[tuple[int, dict[str, int]]] = []
    order: dict[int, int] = {}  # thread identifiers begin anew at the highest one
    entered = False
    while True:
        tid, status = os.waitpid(-1, 0x40000000)  # __WALL
        order.setdefault(tid, len(order))
        if tid == pid and (os.WIFEXITED(status) or os.WIFSIGNALED(status)):
            return status, [registers for _, registers in sorted(ends, key=lambda end: order[end[0]])]
        if not os.WIFSTOPPED(status):
            continue
        event, stop = status >> 16, os.WSTOPSIG(status)
        if event == ptrace.EVENT_EXIT:
            names = {pid: -1, tid: -2}  # to be the same in every run
            ends.append((tid, {name: names.get(value, value) for name, value in ptrace.registers(tid).items()}))
        deliver = stop if not event and stop not in (signal.SIGSTOP, signal.SIGCONT) else 0
        ptrace.resume(tid, deliver)
        if kill and event == ptrace.EVENT_EXEC and not entered:
            entered = True
            _wait_for_work(pid)
            os.kill(pid, kill)


def _wait_for_work(pid: int) -> None:
    """Until it has used processor time for a while: it is in its endless region then."""
    while int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) < 5:
        os.sched_yield()


@pytest.fixture(scope="module", params=["pie", "static"])
def builds(tool: Tool, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """Folders with the original and the hardened program, of the same name."""
    folder = tmp_path_factory.mktemp("deaths")
    flags = ["-pie", "-fPIE"] if request.param == "pie" else ["-static", "-no-pie", "-fno-pie"]
    folders = folder / "original", folder / "hardened"
    for path in folders:
        path.mkdir()
    subprocess.run(["gcc", "-O2", "-w", "-pthread", *flags, SOURCE, "-o", folders[0] / "program"], check=True)
    tool.patch(folders[0] / "program", folders[1] / "program", "--region", "region", "--return", "-1")
    return folders


def _same(builds: tuple[Path, Path], *arguments: str, but: Sequence[str] = ()) -> None:
    """Both die of the same signal, and the thread made last with the same registers."""
    expected, found = (death(["./program", *arguments], folder) for folder in builds)
    assert os.WIFSIGNALED(expected[0])
    assert found[0] == expected[0]
    assert len(found[1]) == len(expected[1])
    for registers in (found[1][-1], expected[1][-1]):
        registers["eflags"] &= ~RESUME_FLAG
        for name in (*ELSEWHERE, *but):
            del registers[name]
    its, mine = ({name: hex(value) for name, value in end[1][-1].items()} for end in (expected, found))
    assert mine == its


@pytest.mark.parametrize("manner", MANNERS)
def test_death_at_the_original_instruction(builds: tuple[Path, Path], manner: str) -> None:
    for fault in FAULTS:
        if (fault, manner) != ("trap", "ignored"):
            _same(builds, fault, manner, but=["rsp"] if manner == "thread" else [])  # mapped where there is room


@pytest.mark.xfail(reason="a trap that is ignored is no death when it is sent again", strict=True)
def test_death_by_an_ignored_trap(builds: tuple[Path, Path]) -> None:
    _same(builds, "trap", "ignored")


def test_death_after_a_rescue(builds: tuple[Path, Path]) -> None:
    status, _ = death(["./program", "load", "default", "rescue"], builds[1])
    assert os.WTERMSIG(status) == signal.SIGSEGV
    for fault in FAULTS:
        ends = [death(["./program", fault, "default", *more], builds[1])[1] for more in ([], ["rescue"])]
        assert ends[0][0]["rip"] == ends[1][0]["rip"] and ends[0][0]["rax"] == ends[1][0]["rax"]


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 11, 15, 24, 31])
def test_death_by_a_signal_it_sends_itself(builds: tuple[Path, Path], number: int) -> None:
    _same(builds, f"raise{number}", "default", but=["orig_rax"])  # it is sent again, from outside a system call


def test_death_by_abort(builds: tuple[Path, Path]) -> None:
    _same(builds, "abort", "default")


@pytest.mark.xfail(reason="a default action takes effect in the code cache", strict=True)
def test_death_by_another_process_inside_a_region(builds: tuple[Path, Path]) -> None:
    status, [registers] = death(["./program", "inside", "default"], builds[1], kill=signal.SIGQUIT)
    assert os.WTERMSIG(status) == signal.SIGQUIT
    base = 0 if symbol_address(builds[1] / "program", "region") >= 0x400000 else 0x555555554000
    assert registers["rip"] - base - symbol_address(builds[1] / "program", "region") in range(100)
