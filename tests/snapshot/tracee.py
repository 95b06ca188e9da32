"""A hardened program under control: where it is, and which memory is the runtime's.

The runtime's memory is known by who mapped it: its os_map and os_unmap are watched, so that none of the program's
memory can hide behind a guess about the runtime's structures.  What the runtime would map in another way is a new
mapping that nobody has unmapped, and told as one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import memory_image as memory
import trace_requests as ptrace
from memory_image import Ranges, Snapshot

from stemrw.runtime import load_image

_WATCH_MAP, _WATCH_UNMAP = 0, 1
_FREE_BREAKPOINTS = (2, 3)
_JUMP_RESUME = bytes.fromhex("65ff2425")
"""jmp gs:[…], without its displacement: the last instruction before rescue_entry in entry.S."""
_WORD = (1 << 64) - 1
_LAST_ERROR = 4095


class Ended(Exception):
    """The program has ended; `status` is its exit status, or the negative number of a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the program ended with {status}")
        self.status = status


class Lost(Exception):
    """The program did not get where it was wanted in time."""


@dataclass(frozen=True)
class Payload:
    """The runtime's image in memory, its state, and the page before the state that nobody may touch."""

    start: int
    end: int
    state: tuple[int, int]


@dataclass
class Tracee:
    """A hardened program, started under ptrace and stopped; leaving the context ends it."""

    pid: int
    deadline: float
    own: Ranges = field(default_factory=Ranges)
    """What the runtime has mapped."""
    payload: Payload | None = None
    breakpoints: dict[int, int] = field(default_factory=dict)
    ended: bool = False

    @classmethod
    def start(
        cls,
        program: Path,
        command: Sequence[str],
        *,
        cwd: Path,
        stdin: Path | None = None,
        environment: Mapping[str, str] | None = None,
        seconds: float = 60,
    ) -> Self:
        """Start it with its output thrown away.  After `seconds` every wait raises Lost.

        A program whose hardened module is a library runs until that is mapped.
        """
        source, sink = os.open(stdin or os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)
        variables = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **(environment or {})}
        try:
            pid = ptrace.start(str(program), command, variables, (source, sink, sink), str(cwd))
        finally:
            os.close(source)
            os.close(sink)
        tracee = cls(pid, time.monotonic() + seconds)
        tracee._wait()
        ptrace.request(ptrace.SETOPTIONS, pid, 0, ptrace.OPTION_EXITKILL)
        while not tracee._find_payload():
            ptrace.request(ptrace.SYSCALL, pid)
            tracee._wait()
        tracee.breakpoints = {_WATCH_MAP: tracee.symbol("os_map"), _WATCH_UNMAP: tracee.symbol("os_unmap")}
        ptrace.set_breakpoints(pid, tracee.breakpoints)
        return tracee

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    # going on

    def run_to(self, *addresses: int, deliver: int = 0) -> int:
        """Go on to the first of up to two addresses; the program gets the signals sent to it.  Raises Ended, Lost."""
        self._break_at(*addresses)
        while True:
            ptrace.request(ptrace.CONT, self.pid, 0, deliver)
            deliver = self._wait()
            at = self.registers()["rip"]
            if deliver == signal.SIGTRAP and at in self.breakpoints.values():
                deliver = 0
                if at in addresses:
                    self._break_at()
                    return at
                self._account()

    def run_to_signal(self, number: int, pc: int) -> None:
        """Go on until an instruction raises a signal, and stop before that is delivered.  Raises Ended, Lost."""
        deliver = 0
        while deliver != number or self.registers()["rip"] != pc:
            ptrace.request(ptrace.CONT, self.pid, 0, deliver)
            deliver = self._wait()

    def run_to_end(self) -> int:
        """Its exit status, or the negative number of the signal that killed it.  Raises Lost."""
        try:
            self.run_to()
        except Ended as ended:
            return ended.status
        raise AssertionError

    def step(self) -> int:
        """One instruction; gives the address of the next."""
        number = 0
        while number != signal.SIGTRAP:
            ptrace.request(ptrace.SINGLESTEP, self.pid, 0, number)
            number = self._wait()
        return self.registers()["rip"]

    def _break_at(self, *addresses: int) -> None:
        self.breakpoints = {number: self.breakpoints[number] for number in (_WATCH_MAP, _WATCH_UNMAP)}
        self.breakpoints |= dict(zip(_FREE_BREAKPOINTS, addresses, strict=False))
        ptrace.set_breakpoints(self.pid, self.breakpoints)

    def _account(self) -> None:
        """At os_map or os_unmap: let it happen, and take note."""
        before = self.registers()
        for _ in ("entered", "left"):
            ptrace.request(ptrace.SYSCALL, self.pid)
            self._wait()
        start, size, result = before["rdi"], before["rsi"], self.registers()["rax"]
        pages = (size + memory.PAGE - 1) & -memory.PAGE
        if result > _WORD - _LAST_ERROR:
            return
        if before["rip"] == self.breakpoints[_WATCH_MAP]:
            self.own.add(result, result + pages)
        else:
            self.own.remove(start, start + pages)

    def _wait(self) -> int:
        pause = 0.00001
        while not (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > self.deadline:
                raise Lost(f"process {self.pid}: time is up")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.002)
        if not os.WIFSTOPPED(found[1]):
            self.ended = True
            raise Ended(os.waitstatus_to_exitcode(found[1]))
        return os.WSTOPSIG(found[1])

    # looking

    def registers(self) -> dict[str, int]:
        """General registers."""
        return ptrace.registers(self.pid)

    def read(self, address: int, size: int) -> bytes:
        """Memory; raises OSError where there is none."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as file:
            file.seek(address)
            return file.read(size)

    def word(self, address: int) -> int:
        """Eight bytes of memory."""
        return int.from_bytes(self.read(address, 8), "little")

    def write(self, address: int, data: bytes) -> None:
        """Write memory, read-only code too."""
        with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as file:
            file.seek(address)
            file.write(data)

    def struct(self, name: str, address: int) -> dict[str, int]:
        """A structure of the runtime."""
        layout = load_image().structs[name]
        fields = layout.unpack(self.read(address, layout.size))
        return {field: int.from_bytes(value, "little") for field, value in fields.items()}

    def symbol(self, name: str) -> int:
        """Address of a symbol of the runtime."""
        assert self.payload is not None
        return self.payload.start + load_image().symbols[name]

    def resume_jump(self) -> int:
        """The instruction of the runtime that leads back to the cache once C is done."""
        address = self.symbol("resume_end") - len(_JUMP_RESUME) - 4
        assert self.read(address, len(_JUMP_RESUME)) == _JUMP_RESUME, "entry.S ends run_service in another way now"
        return address

    def is_runtime(self, pc: int) -> bool:
        """Whether the runtime's own code lies there."""
        return self.payload is not None and self.payload.start <= pc < self.payload.end

    def in_region(self) -> bool:
        """Whether the thread runs translated code, with a checkpoint to return to."""
        now = self.registers()
        return now["rip"] in self.own and self.struct("context", now["gs_base"])["depth"] > 0

    def snapshot(self) -> Snapshot:
        """Mappings, and the contents of writable memory."""
        assert self.payload is not None
        owned = Ranges(self.own)
        owned.add(self.payload.state[0] - memory.PAGE, self.payload.state[1])
        return memory.snapshot(self.pid, owned)

    def file_offsets(self) -> dict[int, int]:
        """By descriptor."""
        found = {}
        for name in os.listdir(f"/proc/{self.pid}/fdinfo"):
            found[int(name)] = int(Path(f"/proc/{self.pid}/fdinfo/{name}").read_text().split()[1])
        return found

    def blocked_signals(self) -> int:
        """The signal mask."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:"))

    def _find_payload(self) -> bool:
        image = load_image()
        for mapping in memory.mappings(self.pid):
            if mapping.rights[2] == "x" and mapping.inode and self.read(mapping.start, 8) == image.magic:
                header = self.struct("payload_header", mapping.start)
                state = header["state_address"] + mapping.start - header["header_address"]
                bounds = (state, state + header["state_size"])
                self.payload = Payload(mapping.start, mapping.start + header["image_size"], bounds)
        return self.payload is not None
