"""What a stopped thread and its process look like, copied: everything a report is made from.

Taken while the thread is stopped, used after the process is gone.  Files are held open for as long, so that what is
read later is what was mapped (upgrades, deletion, mount namespaces).
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from stemrw.sense import process, ptrace
from stemrw.sense.process import Mapping

PAGE = 4096
BELOW_STACK = 8 << 10
"""Bytes below the stack pointer that are copied too: the red zone, and what returned functions have left there."""
MAX_STACK = 64 << 20
"""Bytes of stack copied at most.  The usual limit of a stack is 8 MiB."""
CODE_BYTES = 16
SYSCALL_BYTES = 2
VDSO = "[vdso]"

SI_USER, SI_QUEUE, SI_TKILL, SI_KERNEL = 0, -1, -6, 0x80
_SENT = (SI_USER, SI_QUEUE, SI_TKILL)


@dataclass(frozen=True)
class Fault:
    """A signal that stopped a thread, before it is delivered: the cause, and the registers at that point."""

    signal: int
    registers: dict[str, int]
    siginfo: bytes = b""

    @property
    def code(self) -> int | None:
        """si_code."""
        return struct.unpack_from("<i", self.siginfo, 8)[0] if self.siginfo else None

    @property
    def address(self) -> int:
        """si_addr; meaningless if the signal was sent."""
        return int(struct.unpack_from("<Q", self.siginfo, 16)[0]) if self.siginfo else 0

    @property
    def was_sent(self) -> bool:
        """By kill, tgkill or sigqueue: no fault of the processor's."""
        return self.code in _SENT

    @property
    def sender(self) -> int | None:
        """Process id of the sender, as the receiver sees it."""
        return int(struct.unpack_from("<i", self.siginfo, 16)[0]) if self.was_sent else None

    @property
    def name(self) -> str:
        return signals.Signals(self.signal).name


@dataclass(frozen=True)
class Memory:
    """Copied pieces of address space."""

    pieces: tuple[tuple[int, bytes], ...]

    def read(self, address: int, size: int) -> bytes | None:
        """None if not all of it was copied."""
        for start, data in self.pieces:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        return None

    def word(self, address: int) -> int | None:
        data = self.read(address, 8)
        return int.from_bytes(data, "little") if data is not None else None


@dataclass(frozen=True)
class Snapshot:
    """One thread at one stop.  `earlier` are faults of this thread that a handler of the program's own took."""

    pid: int
    tid: int
    own_pid: int
    fault: Fault
    earlier: tuple[Fault, ...]
    mappings: tuple[Mapping, ...]
    memory: Memory
    auxv: bytes
    command: tuple[str, ...]
    cwd: str | None
    stdin: str | None
    exe: str | None
    files: dict[str, int] = field(default_factory=dict)
    """Descriptors of the mapped files that hold code, by path; the vDSO is one.  Missing: could not be opened."""

    def mapping(self, address: int) -> Mapping | None:
        return next((mapping for mapping in self.mappings if address in mapping), None)

    def close(self) -> None:
        for descriptor in self.files.values():
            os.close(descriptor)
        self.files.clear()


def take(tid: int, fault: Fault, earlier: tuple[Fault, ...] = ()) -> Snapshot | None:
    """Copy what is known of a stopped thread; None if it is gone."""
    state = process.status(tid)
    maps = process.mappings(tid)
    if state is None or not maps:
        return None
    memory = _copy_memory(tid, maps, (fault, *earlier))
    return Snapshot(
        pid=state.tgid,
        tid=tid,
        own_pid=state.own_pid,
        fault=fault,
        earlier=earlier,
        mappings=maps,
        memory=memory,
        auxv=process.read(tid, "auxv"),
        command=process.command_line(tid),
        cwd=process.link(tid, "cwd"),
        stdin=process.standard_input(tid),
        exe=process.link(tid, "exe"),
        files=_open_files(tid, maps, memory),
    )


def current(tid: int, signal: int, info: bytes = b"") -> Fault:
    """The fault at which a thread is stopped now, its program counter at the instruction that caused it: int3 leaves it
    behind itself.  Raises ptrace.ForeignArchitecture."""
    fault = Fault(signal, ptrace.registers(tid), info)
    pc = fault.registers["rip"]
    if signal == signals.SIGTRAP and fault.code == SI_KERNEL and _peek(tid, pc - 1, 1) == b"\xcc":
        fault.registers["rip"] = pc - 1
    return fault


def _peek(tid: int, address: int, size: int) -> bytes:
    """Memory of a stopped thread; empty if there is none."""
    try:
        with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
            return os.pread(memory.fileno(), size, address)
    except (OSError, OverflowError, ValueError):  # not mapped; not an offset
        return b""


def _copy_memory(tid: int, maps: tuple[Mapping, ...], faults: tuple[Fault, ...]) -> Memory:
    """The stacks from the innermost frame outwards, the code at the faults, the vDSO."""
    ranges = []
    for fault in faults:
        ranges.append((fault.registers["rip"] - SYSCALL_BYTES, fault.registers["rip"] + CODE_BYTES))
        ranges += stack_range(maps, fault.registers["rsp"])
    ranges += [(m.start, m.end) for m in maps if m.path == VDSO]
    pieces = []
    with contextlib.suppress(OSError), open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
        for start, end in merge(ranges):
            pieces += list(_read(memory.fileno(), start, end))
    return Memory(tuple(pieces))


def stack_range(maps: tuple[Mapping, ...], stack_pointer: int) -> list[tuple[int, int]]:
    """From below the stack pointer to the end of its mapping; an exhausted stack begins above the stack pointer."""
    for mapping in maps:
        if mapping.end > stack_pointer and mapping.readable and mapping.writable:
            start = max(mapping.start, (stack_pointer - BELOW_STACK) & ~(PAGE - 1))
            return [(start, min(mapping.end, start + MAX_STACK))]
    return []


def merge(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges without overlaps, ascending."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _read(descriptor: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """What of a range can be read; it ends at the first hole."""
    chunks = []
    address = start
    while address < end:
        try:
            data = os.pread(descriptor, end - address, address)
        except (OSError, OverflowError, ValueError):  # not mapped; not an offset
            break
        if not data:
            break
        chunks.append(data)
        address += len(data)
    if chunks:
        yield start, b"".join(chunks)


def _open_files(tid: int, maps: tuple[Mapping, ...], memory: Memory) -> dict[str, int]:
    """The mapped files that hold code, as the process sees them."""
    files: dict[str, int] = {}
    for mapping in maps:
        if mapping.path in files or not mapping.executable:
            continue
        if mapping.path == VDSO:
            content = memory.read(mapping.start, mapping.end - mapping.start)
            descriptor = _as_file(content) if content else None
        else:
            descriptor = _open_file(tid, mapping, maps) if mapping.is_file else None
        if descriptor is not None:
            files[mapping.path] = descriptor
    return files


def _as_file(content: bytes) -> int:
    descriptor = os.memfd_create("stemrw-vdso")
    os.write(descriptor, content)
    return descriptor


def _open_file(tid: int, mapping: Mapping, maps: tuple[Mapping, ...]) -> int | None:
    """The file of this mapping.  map_files finds it whatever became of its name, but needs privileges."""
    by_name = (f"/proc/{tid}/root{mapping.path}", mapping.path)
    for path in (f"/proc/{tid}/map_files/{mapping.start:x}-{mapping.end:x}", *by_name):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):
            continue
        if path not in by_name or _is_mapped(descriptor, tid, mapping, maps):
            return descriptor
        os.close(descriptor)
    return None


def _is_mapped(descriptor: int, tid: int, mapping: Mapping, maps: tuple[Mapping, ...]) -> bool:
    """Same inode; or, as inode numbers differ on stacked file systems, the same ELF header page (with build-id)."""
    if os.fstat(descriptor).st_ino == mapping.inode:
        return True
    first = next((m for m in maps if m.inode == mapping.inode and m.path == mapping.path and m.offset == 0), None)
    if first is None:
        return False
    header = _peek(tid, first.start, PAGE)
    return bool(header) and header == os.pread(descriptor, PAGE, 0).ljust(PAGE, b"\0")
