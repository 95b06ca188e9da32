"""An ELF core file, of the kernel, systemd's coredumpctl or gdb's gcore: made a snapshot, as of a process watched live.

Only what a report needs is read: notes, the stack of the thread that died, the code at the fault, and the first pages
of modules, by which the files of today are recognised as those that were mapped.
"""

from __future__ import annotations

import os
import signal as signals
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stemrw.documents.read import shown
from stemrw.errors import BinaryError, DocumentError
from stemrw.sense.code import follows_call
from stemrw.sense.module import Module
from stemrw.sense.monitor import FATAL
from stemrw.sense.process import Mapping
from stemrw.sense.ptrace import REGISTER_BYTES, REGISTERS
from stemrw.sense.snapshot import (
    CODE_BYTES,
    PAGE,
    SI_KERNEL,
    SYSCALL_BYTES,
    VDSO,
    Fault,
    Memory,
    Snapshot,
    merge,
    stack_range,
)

_ET_CORE, _EM_X86_64, _PT_LOAD, _PT_NOTE, _PN_XNUM = 4, 62, 1, 4, 0xFFFF
_NT_PRSTATUS, _NT_PRPSINFO, _NT_AUXV, _NT_SIGINFO, _NT_FILE = 1, 3, 6, 0x53494749, 0x46494C45
_AT_ENTRY, _AT_RANDOM, _AT_SYSINFO_EHDR = 9, 25, 33
_PRSTATUS_REGISTERS, _PRSTATUS_PID, _PRPSINFO_PID = 112, 32, 24
_MOST_SEGMENTS, _MOST_NOTES, _MOST_WORDS = 1 << 17, 32 << 20, 1 << 16
_END = (1 << 64) - PAGE
_MOST_VDSO = 1 << 20
_SCANNED, _ENOUGH = 1 << 20, 2
_HINT = "name the file that died with --program"


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    flags: int
    offset: int
    start: int
    stored: int
    size: int

    @property
    def permissions(self) -> str:
        return "".join(name if self.flags & bit else "-" for name, bit in (("r", 4), ("w", 2), ("x", 1))) + "p"


class _Core:
    """The file, read piece by piece.  Raises DocumentError."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor
        header = self.at(0, 64)
        if len(header) < 64 or header[:4] != b"\x7fELF":
            raise self.error("this is no core file")
        kind, machine = struct.unpack_from("<HH", header, 16)
        if kind != _ET_CORE:
            raise self.error("this is an ELF file, but no core file")
        if header[4] != 2 or header[5] != 1 or machine != _EM_X86_64:
            raise self.error("the core file is not of an x86-64 process")
        table, sections = struct.unpack_from("<QQ", header, 32)
        count = struct.unpack_from("<H", header, 56)[0]
        if count == _PN_XNUM and len(first := self.at(sections, 64)) == 64:
            count = struct.unpack_from("<I", first, 44)[0]
        if count > _MOST_SEGMENTS:
            raise self.error(f"{count} segments cannot be true")
        raw = self.at(table, 56 * count)
        rows = struct.iter_unpack("<IIQQQQQQ", raw[: len(raw) // 56 * 56])
        segments = [_Segment(k, f, offset, start, s, size) for k, f, offset, start, _, s, size, _ in rows]
        self.notes = list(self._notes(segments))
        self.loads = sorted(
            (s for s in segments if s.kind == _PT_LOAD and s.size and s.start < _END), key=lambda each: each.start
        )

    def error(self, what: str, hint: str | None = None) -> DocumentError:
        return DocumentError(what, file=self.path, hint=hint)

    def at(self, offset: int, size: int) -> bytes:
        """File contents; fewer bytes where it ends."""
        if not 0 <= offset < 1 << 62:
            return b""
        return os.pread(self._descriptor, size, offset)

    def note(self, kind: int) -> bytes:
        """The first note of a kind; empty if there is none."""
        return next((content for each, content in self.notes if each == kind), b"")

    def memory(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """What is stored of a range of addresses."""
        for load in self.loads:
            low, high = max(start, load.start), min(end, load.start + load.stored)
            if low < high:
                yield low, self.at(load.offset + low - load.start, high - low)

    def _notes(self, segments: Sequence[_Segment]) -> Iterator[tuple[int, bytes]]:
        for segment in segments:
            content = self.at(segment.offset, min(segment.stored, _MOST_NOTES)) if segment.kind == _PT_NOTE else b""
            position = 0
            while position + 12 <= len(content):
                name, size, kind = struct.unpack_from("<III", content, position)
                begin = position + 12 + -(-name // 4) * 4
                yield kind, content[begin : begin + size]
                position = begin + -(-size // 4) * 4


def snapshot(descriptor: int, path: str, program: Path | None) -> tuple[Snapshot, list[str]]:
    """The state of the thread that died, and what could not be believed, in sentences.  The caller closes it.

    `path` names the core file in errors; `program` is where the program's file (or that of a library of its name) is
    now.  Raises DocumentError: no core, or not of a process that died of a fault.
    """
    core = _Core(path, descriptor)
    fault, tid = _fault(core)
    auxv = core.note(_NT_AUXV)
    words = dict(struct.iter_unpack("<QQ", auxv[: len(auxv) & -16]))
    mappings = _mappings(core, words, program)
    pieces = [piece for start, end in _wanted(fault, mappings) for piece in core.memory(start, end)]
    memory = Memory(tuple(pieces))
    information = core.note(_NT_PRPSINFO)[_PRPSINFO_PID:]
    pid = struct.unpack_from("<i", information)[0] if len(information) >= 4 else tid
    exe = next((m.path for m in mappings if words.get(_AT_ENTRY, 0) in m and m.is_file), None)
    files, doubts = _files(core, mappings, memory, program)
    taken = Snapshot(
        pid=pid, tid=tid, own_pid=pid, fault=_before_breakpoint(fault, memory), earlier=(), mappings=mappings,
        memory=memory, auxv=auxv, command=_command(auxv, memory), cwd=None, stdin=None, exe=exe, files=files,
    )  # fmt: skip
    if exe is None or exe not in files:
        taken.close()
        named = shown(exe) if exe else "which it does not name"
        raise core.error(f"the file that died, {named}, is not here, or not the same", _HINT)
    return taken, doubts


def _fault(core: _Core) -> tuple[Fault, int]:
    """Of the first thread in the core, which is the one that died."""
    status, information = core.note(_NT_PRSTATUS), core.note(_NT_SIGINFO)
    if len(status) < _PRSTATUS_REGISTERS + REGISTER_BYTES:
        raise core.error("it holds no registers", "is the core file complete?")
    signal = struct.unpack_from("<h", status, 12)[0]
    if signal not in FATAL or len(information) < 32:
        what = f"signal {signal} is no fault" if signal not in FATAL else "it does not say what the signal was about"
        raise core.error(what, "the core file of the crash is needed")
    values = struct.unpack_from(f"<{len(REGISTERS)}Q", status, _PRSTATUS_REGISTERS)
    tid = struct.unpack_from("<i", status, _PRSTATUS_PID)[0]
    if tid < 1:
        raise core.error(f"thread {tid} cannot be", "is the core file damaged?")
    return Fault(signal, dict(zip(REGISTERS, values, strict=True)), information), tid


def _before_breakpoint(fault: Fault, memory: Memory) -> Fault:
    """int3 leaves the program counter behind itself."""
    pc = fault.registers["rip"]
    if fault.signal == signals.SIGTRAP and fault.code == SI_KERNEL and memory.read(pc - 1, 1) == b"\xcc":
        return Fault(fault.signal, {**fault.registers, "rip": pc - 1}, fault.siginfo)
    return fault


def _mappings(core: _Core, auxv: dict[int, int], program: Path | None) -> tuple[Mapping, ...]:
    """As /proc/PID/maps had them; the file that `program` stands for under its own name."""
    listed = list(_mapped_files(core.note(_NT_FILE)))
    files = {start: (offset, path) for start, _, offset, path in listed}
    meant = _meant(files, auxv, core, program)
    found = []
    for load in core.loads:
        offset, path = files.get(load.start, (0, ""))
        if path and path == meant:
            path = os.path.abspath(str(program))
        if not path:
            path = _special(load, auxv)
        end = min(load.start + load.size, _END)
        found.append(Mapping(load.start, end, load.permissions, offset, 0, int(path.startswith("/")), path))
    held = {load.start for load in core.loads}
    for start, end, offset, path in listed:  # gdb leaves out what is as in the file: code, for one
        if start not in held and start < end <= _END:
            shown = os.path.abspath(str(program)) if path == meant else path
            found.append(Mapping(start, end, "r-xp", offset, 0, int(path.startswith("/")), shown))
    return tuple(sorted(found, key=lambda each: each.start))


def _special(load: _Segment, auxv: dict[int, int]) -> str:
    if auxv.get(_AT_SYSINFO_EHDR) == load.start:
        return VDSO
    return "[stack]" if load.start <= auxv.get(_AT_RANDOM, 0) < load.start + load.size else ""


def _mapped_files(note: bytes) -> Iterator[tuple[int, int, int, str]]:
    """NT_FILE as start, end, offset in bytes, path."""
    if len(note) < 16:
        return
    count, page = struct.unpack_from("<QQ", note)
    table = min(count, (len(note) - 16) // 24)
    names = note[16 + 24 * table :].split(b"\0")
    for (start, end, offset), name in zip(struct.iter_unpack("<QQQ", note[16 : 16 + 24 * table]), names, strict=False):
        yield start, end, offset * page, os.fsdecode(name)


def _meant(files: dict[int, tuple[int, str]], auxv: dict[int, int], core: _Core, program: Path | None) -> str | None:
    """The path in the core that `program` stands for: one of its name, else the executable's."""
    if program is None:
        return None
    named = next((path for _, path in files.values() if os.path.basename(path) == program.name), None)
    entry = auxv.get(_AT_ENTRY, 0)
    holds = next((s.start for s in core.loads if s.start <= entry < s.start + s.size), None)
    return named or (files[holds][1] if holds in files else None)


def _wanted(fault: Fault, mappings: tuple[Mapping, ...]) -> list[tuple[int, int]]:
    pc = fault.registers["rip"]
    ranges = [(pc - SYSCALL_BYTES, pc + CODE_BYTES), *stack_range(mappings, fault.registers["rsp"])]
    ranges += [(m.start, min(m.end, m.start + _MOST_VDSO)) for m in mappings if m.path == VDSO]
    return merge(ranges)


def _files(
    core: _Core, mappings: Sequence[Mapping], memory: Memory, program: Path | None
) -> tuple[dict[str, int], list[str]]:
    """Descriptors of the files that are what was mapped."""
    files: dict[str, int] = {}
    doubts = []
    mine = os.path.abspath(program) if program is not None else None
    for path in dict.fromkeys(m.path for m in mappings if m.executable and (m.is_file or m.path == VDSO)):
        first = next((m for m in mappings if m.path == path and m.offset == 0), None)
        if path == VDSO:
            files |= _vdso(core, first)
            continue
        header = b"".join(data for _, data in core.memory(first.start, first.start + PAGE)) if first else b""
        descriptor = _opened(path.removesuffix(" (deleted)"))
        if descriptor is None:
            doubts.append(f"{shown(path)} is not here: its frames have no names, and what it calls may be missing")
            continue
        same = header == os.pread(descriptor, PAGE, 0).ljust(PAGE, b"\0")
        if same or not header and (path == mine or _agrees(descriptor, path, mappings, memory)):
            files[path] = descriptor
        else:
            os.close(descriptor)
            why = (
                "is not the file that was mapped" if header else "cannot be compared: its beginning is not in the core"
            )
            doubts.append(f"{shown(path)} {why}: it was not used")
    return files, doubts


def _opened(path: str) -> int | None:
    """A regular file; a core file may name anything."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None


def _agrees(descriptor: int, path: str, mappings: Sequence[Mapping], memory: Memory) -> bool:
    """Whether the stack's words that point into a module's code, return addresses mostly, stand behind calls there."""
    try:
        module = Module(path, descriptor)
    except (BinaryError, ValueError, OSError):
        return False
    mine = [mapping for mapping in mappings if mapping.path == path]
    calls = others = 0
    for _, data in memory.pieces:
        for (word,) in struct.iter_unpack("<Q", data[: _SCANNED & -8][: len(data) & -8]):
            mapping = next((each for each in mine if word in each), None)
            link = module.code_address(word - mapping.start + mapping.offset) if mapping else None
            if link is not None:
                behind = follows_call(module.read(link - 8, 8))
                calls, others = calls + behind, others + (not behind)
    return calls >= _ENOUGH and calls >= others


def _vdso(core: _Core, mapping: Mapping | None) -> dict[str, int]:
    """The kernel's own module is in the core only."""
    end = min(mapping.end, mapping.start + _MOST_VDSO) if mapping else 0
    content = b"".join(data for _, data in core.memory(mapping.start, end)) if mapping else b""
    if not content:
        return {}
    descriptor = os.memfd_create("stemrw-vdso")
    os.write(descriptor, content)
    return {VDSO: descriptor}


def _command(auxv: bytes, memory: Memory) -> tuple[str, ...]:
    """The arguments, from where the kernel put them: below the auxiliary vector lie the pointers to the environment's
    strings, then those of the arguments and their number.  Empty where that cannot be followed."""
    start = next((at + place for at, data in memory.pieces if auxv and (place := data.rfind(auxv)) >= 0), None)
    if start is None or memory.word(start - 8) != 0:
        return ()
    below = (memory.word(start - 8 * number) for number in range(2, _MOST_WORDS))
    for word in below:  # the environment
        if not word:
            break
    pointers: list[int] = []
    for word in below:
        if word is None:
            break
        if word == len(pointers):
            return tuple(os.fsdecode(_string(memory, pointer)) for pointer in reversed(pointers))
        pointers.append(word)
    return ()


def _string(memory: Memory, address: int) -> bytes:
    for start, data in memory.pieces:
        if start <= address < start + len(data):
            return data[address - start :].partition(b"\0")[0]
    return b""
