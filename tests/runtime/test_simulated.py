"""Machines that are not here, made up by a tracer: a kernel without FSGSBASE, one that has switched a shadow stack on;
and numbers that would take hours to run out."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import Tool, execute

from stemrw.runtime import load_image
from stemrw.sense import ptrace

PROGRAMS = Path(__file__).parent / "programs"
TRACEME, SYSCALL, SETOPTIONS = 0, 24, 0x4200
TRACESYSGOOD_EXITKILL = 1 | 1 << 20
SYSTEM_CALL_STOP = signal.SIGTRAP | 0x80
AT_HWCAP2, FSGSBASE = 26, 2
NR_READ, NR_ARCH_PRCTL, ARCH_SHSTK_STATUS = 0, 158, 0x5005


@dataclass
class Traced:
    """A program that is stopped before its first instruction."""

    pid: int
    memory: Any
    stdin: Any
    stdout: Any

    def read(self, address: int, size: int = 8) -> bytes:
        self.memory.seek(address)
        data: bytes = self.memory.read(size)
        return data

    def write(self, address: int, value: int) -> None:
        self.memory.seek(address)
        self.memory.write(struct.pack("<Q", value))
        self.memory.flush()


@contextmanager
def traced(program: Path) -> Iterator[Traced]:
    """Start it, stopped behind its exec; killed at the end if it is still there."""
    libc = ctypes.CDLL(None)
    to_child, from_child = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(to_child[0], 0)
            os.dup2(from_child[1], 1)
            for descriptor in (*to_child, *from_child):
                os.close(descriptor)
            signal.alarm(60)
            libc.ptrace(TRACEME, 0, None, None)
            os.execv(program, [str(program)])
        finally:
            os._exit(127)
    os.close(to_child[0])
    os.close(from_child[1])
    os.waitpid(pid, 0)
    with (
        open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory,
        os.fdopen(to_child[1], "wb", buffering=0) as stdin,
        os.fdopen(from_child[0], "rb") as stdout,
    ):
        try:
            yield Traced(pid, memory, stdin, stdout)
        finally:
            if not _ended(pid):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def without_fsgsbase(program: Traced) -> None:
    """Take the feature out of what the kernel tells the program about the machine; the rest is not traced."""
    at = ptrace.registers(program.pid)["rsp"] + 8
    for _ in range(2):  # arguments, environment
        while program.read(at) != bytes(8):
            at += 8
        at += 8
    while int.from_bytes(program.read(at), "little") != AT_HWCAP2:
        at += 16
    value = int.from_bytes(program.read(at + 8), "little")
    assert value & FSGSBASE, "this machine has no FSGSBASE itself"
    program.write(at + 8, value & ~FSGSBASE)
    ptrace.detach(program.pid)


def with_shadow_stack(program: Traced, asked: int) -> None:
    """Answer the question whether a shadow stack is active with yes, from that time on (0: the first)."""
    libc = ctypes.CDLL(None)
    libc.ptrace(SETOPTIONS, program.pid, None, ctypes.c_void_p(TRACESYSGOOD_EXITKILL))
    passed_on = entering = 0
    while True:
        assert libc.ptrace(SYSCALL, program.pid, None, ctypes.c_void_p(passed_on)) == 0
        _, status = os.waitpid(program.pid, 0)
        assert os.WIFSTOPPED(status), status
        passed_on = os.WSTOPSIG(status) if os.WSTOPSIG(status) != SYSTEM_CALL_STOP else 0
        if os.WSTOPSIG(status) != SYSTEM_CALL_STOP:
            continue
        entering ^= 1
        registers = ptrace.registers(program.pid)
        if entering and registers["orig_rax"] == NR_READ and registers["rdi"] == 0:  # it has printed its result
            ptrace.detach(program.pid)
            return
        if not entering and registers["orig_rax"] == NR_ARCH_PRCTL and registers["rdi"] == ARCH_SHSTK_STATUS:
            program.write(registers["rsi"], int(asked <= 0))
            ptrace.set_registers(program.pid, registers | {"rax": 0})
            asked -= 1


SIMULATED: dict[str, tuple[Callable[[Traced], None], dict[str, int]]] = {
    "no FSGSBASE": (without_fsgsbase, {"no-fsgsbase": 1, "none": 1000}),
    "shadow stack": (lambda program: with_shadow_stack(program, 0), {"shadow-stack": 1, "none": 1000}),
    "shadow stack switched on later": (lambda program: with_shadow_stack(program, 1), {"shadow-stack": 1000}),
}


def _build(source: Path, out: Path, oracle: int) -> Path:
    words = ["gcc", "-O2", "-w", "-pie", "-fPIE", f"-DORACLE={oracle}", str(source), "-o", str(out)]
    subprocess.run(words, check=True, capture_output=True)
    return out


@pytest.mark.parametrize("machine", SIMULATED)
def test_runs_natively_and_is_counted(tool: Tool, tmp_path: Path, machine: str) -> None:
    simulate, reasons = SIMULATED[machine]
    program = _build(PROGRAMS / "simulated.c", tmp_path / "program", 0)
    hardened = tmp_path / "hardened"
    tool.patch(program, hardened, "--region", "region")
    expected = execute([program])
    with traced(hardened) as process:
        simulate(process)
        assert process.stdout.readline() == expected.stdout
        listed = execute([*tool.command, "status", "--json", str(process.pid)])
        assert not listed.returncode, listed
        process.stdin.close()
        assert os.waitpid(process.pid, 0)[1] == 0
    (module,) = json.loads(listed.stdout)["modules"]
    assert module["reasons"] == reasons


def test_filter_numbers_that_run_out(tool: Tool, tmp_path: Path) -> None:
    """The first-write filter tells calls apart by a number of 26 bits: used up, it is not taken for an earlier one."""
    source = PROGRAMS / "epochs.c"
    program, native = (_build(source, tmp_path / f"program{oracle}", oracle) for oracle in (0, 1))
    hardened = tmp_path / "hardened"
    manifest = tool.patch(program, hardened, "--region", "region", "--return", "-1")
    expected = execute([native]).stdout.splitlines(keepends=True)
    image = load_image()
    with traced(hardened) as process:
        ptrace.detach(process.pid)
        assert process.stdout.readline() == expected[0]
        maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        bias = int(next(line for line in maps if str(hardened) in line).split("-")[0], 16)
        state = bias + int(manifest["payload"]["state_address"], 0)
        contexts = int.from_bytes(process.read(state + image.structs["state"].fields["contexts"][0]), "little")
        epoch = contexts + image.structs["context"].fields["epoch"][0]
        assert 0 < int.from_bytes(process.read(epoch), "little") >> 38 < 1000
        process.write(epoch, (1 << 64) - (3 << 38))
        process.stdin.write(b"\n")
        assert process.stdout.readline() == expected[1]
        assert 0 < int.from_bytes(process.read(epoch), "little") >> 38 < 1000
        process.stdin.close()
        assert process.stdout.readline() == expected[2]
        assert os.waitpid(process.pid, 0)[1] == 0
