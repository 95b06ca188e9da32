"""A small ELF core file: one thread's registers, the copied memory, auxiliary vector and mapped files.

What kernel-written cores hold in hundreds of megabytes, reduced to what unwinding by CFI needs; code and unwind tables
stay in the mapped files.  Layout: ELF header, program headers, notes, then the pieces of memory, page-aligned.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from collections.abc import Mapping as Registers

from stemrw.sense.process import Mapping
from stemrw.sense.ptrace import REGISTERS
from stemrw.sense.snapshot import PAGE, Memory

_NT_PRSTATUS, _NT_AUXV, _NT_SIGINFO, _NT_FILE = 1, 6, 0x53494749, 0x46494C45
_PT_LOAD, _PT_NOTE = 1, 4
_PF_RW = 6
_ET_CORE, _EM_X86_64 = 4, 62


def write_core(
    tid: int,
    signal: int,
    siginfo: bytes,
    registers: Registers[str, int],
    memory: Memory,
    auxv: bytes,
    mappings: Iterable[Mapping],
) -> bytes:
    """The core file of a thread that stopped with these registers."""
    notes = (
        _note(_NT_PRSTATUS, _prstatus(tid, signal, registers))
        + _note(_NT_SIGINFO, siginfo.ljust(128, b"\0"))
        + _note(_NT_AUXV, auxv)
        + _note(_NT_FILE, _files(mappings))
    )
    headers = 64 + 56 * (1 + len(memory.pieces))
    position = _aligned(headers + len(notes))
    program = [struct.pack("<IIQQQQQQ", _PT_NOTE, 0, headers, 0, 0, len(notes), 0, 4)]
    for start, data in memory.pieces:
        position += start % PAGE
        program.append(struct.pack("<IIQQQQQQ", _PT_LOAD, _PF_RW, position, start, 0, len(data), len(data), PAGE))
        position = _aligned(position + len(data))
    identification = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", _ET_CORE, _EM_X86_64, 1, 0, 64, 0, 0, 64, 56, len(program), 0, 0, 0)
    image = bytearray(identification + header + b"".join(program) + notes)
    for start, data in memory.pieces:
        image += bytes(_aligned(len(image)) - len(image) + start % PAGE)
        image += data
    return bytes(image)


def _aligned(position: int) -> int:
    return -(-position // PAGE) * PAGE


def _note(kind: int, data: bytes) -> bytes:
    name = b"CORE\0"
    return (
        struct.pack("<III", len(name), len(data), kind)
        + name.ljust(8, b"\0")
        + data.ljust(-(-len(data) // 4) * 4, b"\0")
    )


def _prstatus(tid: int, signal: int, registers: Registers[str, int]) -> bytes:
    """struct elf_prstatus of x86-64: 112 bytes of process data, the general registers, whether FP state is there."""
    head = struct.pack("<iiihxxQQiiii", signal, 0, 0, signal, 0, 0, tid, 0, 0, 0).ljust(112, b"\0")
    return head + struct.pack(f"<{len(REGISTERS)}Q", *(registers[name] for name in REGISTERS)) + bytes(8)


def _files(mappings: Iterable[Mapping]) -> bytes:
    """NT_FILE: count, page size, (start, end, page offset) each, then the names."""
    files = [mapping for mapping in mappings if mapping.is_file]
    table = b"".join(struct.pack("<QQQ", m.start, m.end, m.offset // PAGE) for m in files)
    names = b"".join(m.path.encode(errors="surrogateescape") + b"\0" for m in files)
    return struct.pack("<QQ", len(files), PAGE) + table + names
