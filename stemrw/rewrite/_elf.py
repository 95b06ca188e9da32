"""The parts of an ELF-64 file that the rewriter reads and writes, byte for byte.

lief, pyelftools and others parse more, but what is written back must be exactly what was there; so the writer's view is
its own, and small: file header, program headers, section headers, dynamic section.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cached_property

from stemrw.errors import BinaryError

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_PHDR = 1, 2, 3, 4, 6
PT_GNU_PROPERTY, PT_GNU_RELRO = 0x6474E553, 0x6474E552
PF_X, PF_W, PF_R = 1, 2, 4
ET_EXEC, ET_DYN = 2, 3
EM_386, EM_X86_64 = 3, 62
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_NOBITS, SHT_DYNSYM = 1, 2, 3, 8, 11
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
DT_NEEDED, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_INIT, DT_SONAME, DT_RELR, DT_RELRSZ = (
    1, 5, 6, 7, 8, 12, 14, 36, 35
)  # fmt: skip
DT_JMPREL, DT_PLTRELSZ, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, DT_FLAGS_1 = 23, 2, 25, 27, 0x6FFFFFFB
DF_1_PIE = 0x08000000
NT_GNU_BUILD_ID = 3
PAGE = 4096

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")


def align(value: int, alignment: int) -> int:
    """The next multiple of `alignment`, which is a power of two."""
    return (value + alignment - 1) & -alignment


@dataclass(frozen=True)
class Segment:
    """One program header."""

    type: int
    flags: int
    offset: int
    address: int
    physical: int
    file_size: int
    memory_size: int
    align: int

    size = _SEGMENT.size

    def pack(self) -> bytes:
        return _SEGMENT.pack(*astuple(self))


@dataclass(frozen=True)
class Section:
    """One section header; `name` is the offset in the table of names."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    file_size: int
    link: int
    info: int
    align: int
    entry_size: int

    size = _SECTION.size

    def pack(self) -> bytes:
        return _SECTION.pack(*astuple(self))


class Elf:
    """One x86-64 executable or shared object.  Raises BinaryError for anything else, or if it is cut off."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if data[:4] != b"\x7fELF":
            raise BinaryError("this is no ELF file")
        if len(data) < _HEADER.size:
            raise BinaryError("the ELF file ends within its header")
        (ident, self.type, self.machine, _, self.entry, self.segment_table, self.section_table, _, _, size, count,
         section_size, self.section_count, self.names_index) = _HEADER.unpack_from(data)  # fmt: skip
        if self.machine == EM_386 or (ident[4] == 1 and self.machine == EM_X86_64):
            raise BinaryError("32-bit x86 files cannot be hardened yet", hint="only x86-64 is supported")
        if self.machine != EM_X86_64 or ident[4] != 2 or ident[5] != 1:
            raise BinaryError(f"this is not an x86-64 file (ELF machine {self.machine})")
        if self.type not in (ET_EXEC, ET_DYN):
            raise BinaryError("this is neither an executable nor a shared object", hint="link it first")
        if not count or size != _SEGMENT.size or self.segment_table + count * size > len(data):
            raise BinaryError("the program headers are missing or damaged")
        self.segments = [Segment(*_SEGMENT.unpack_from(data, self.segment_table + i * size)) for i in range(count)]
        loads = self.loads
        if not loads or any(a.address + a.memory_size > b.address for a, b in zip(loads, loads[1:], strict=False)):
            raise BinaryError("the PT_LOAD program headers are missing, overlap or do not ascend")
        if any(load.offset + load.file_size > len(data) or load.file_size > load.memory_size for load in loads):
            raise BinaryError("a segment lies beyond the end of the file", hint="the file is incomplete")
        if self.section_table and section_size != _SECTION.size:
            raise BinaryError("the section headers are damaged")

    @cached_property
    def loads(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.type == PT_LOAD]

    @cached_property
    def executable(self) -> list[Segment]:
        """The segments that hold code."""
        return [load for load in self.loads if load.flags & PF_X]

    @cached_property
    def sections(self) -> list[Section]:
        """All section headers; empty where the file has none, or none that can be read."""
        end = self.section_table + self.section_count * _SECTION.size
        if not self.section_table or self.names_index >= self.section_count or end > len(self.data):
            return []
        return [Section(*_SECTION.unpack_from(self.data, at)) for at in range(self.section_table, end, _SECTION.size)]

    def section_names(self) -> dict[str, Section]:
        """The sections by name (the first of each name)."""
        found: dict[str, Section] = {}
        for section in self.sections:
            found.setdefault(self.string(self.sections[self.names_index].offset + section.name), section)
        return found

    def string(self, offset: int) -> str:
        """The NUL-terminated string at a file offset; empty beyond the end."""
        end = self.data.find(b"\0", offset)
        return self.data[offset:end].decode("utf-8", "replace") if end >= 0 else ""

    def offset(self, address: int) -> int | None:
        """File offset of the byte at a link-time address; None where the file holds no byte for it."""
        for load in self.loads:
            if load.address <= address < load.address + load.file_size:
                return address - load.address + load.offset
        return None

    def read(self, address: int, size: int) -> bytes:
        """Up to `size` bytes of one segment's file content from a link-time address on."""
        for load in self.loads:
            if load.address <= address < load.address + load.file_size:
                at = address - load.address
                return self.data[load.offset + at : load.offset + min(at + size, load.file_size)]
        return b""

    def code(self, address: int, size: int) -> bytes:
        """As `read`, but from executable segments only."""
        if any(load.address <= address < load.address + load.file_size for load in self.executable):
            return self.read(address, size)
        return b""

    @cached_property
    def dynamic(self) -> dict[int, list[int]]:
        """The dynamic section: values by tag."""
        found: dict[int, list[int]] = {}
        for segment in self.segments:
            if segment.type == PT_DYNAMIC:
                content = self.data[segment.offset : segment.offset + segment.file_size]
                for tag, value in struct.iter_unpack("<qQ", content[: len(content) & -16]):
                    if tag == 0:
                        break
                    found.setdefault(tag, []).append(value)
        return found

    def dynamic_value(self, tag: int) -> int | None:
        return self.dynamic.get(tag, [None])[0]

    def dynamic_string(self, index: int) -> str:
        table = self.offset(self.dynamic_value(DT_STRTAB) or 0)
        return self.string(table + index) if table is not None else ""

    def relocations(self) -> Iterator[tuple[int, int, int, int]]:
        """Of each dynamic relocation with addend (data and PLT): address, type, symbol index, addend."""
        for table, size in ((DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)):
            content = self.read(self.dynamic_value(table) or 0, self.dynamic_value(size) or 0)
            for address, info, addend in struct.iter_unpack("<QQq", content[: len(content) // 24 * 24]):
                yield address, info & 0xFFFFFFFF, info >> 32, addend

    def dynamic_symbol(self, index: int) -> tuple[str, int]:
        """Name and value of a dynamic symbol; ("", 0) if there is none."""
        entry = self.read((self.dynamic_value(DT_SYMTAB) or 0) + 24 * index, 24)
        if len(entry) < 24:
            return "", 0
        name, value = struct.unpack("<I4xQ8x", entry)
        return self.dynamic_string(name), value

    def notes(self, segment: Segment) -> Iterator[tuple[str, int, bytes]]:
        """Owner, type and description of each note in a PT_NOTE segment."""
        data = self.data[segment.offset : segment.offset + segment.file_size]
        padding = 8 if segment.align == 8 else 4
        at = 0
        while at + 12 <= len(data):
            owner_size, size, kind = struct.unpack_from("<III", data, at)
            begin = at + align(12 + owner_size, padding)
            yield data[at + 12 : at + 12 + owner_size].rstrip(b"\0").decode("latin-1"), kind, data[begin : begin + size]
            at = begin + align(size, padding)

    @cached_property
    def build_id(self) -> str | None:
        """GNU build-id as lower-case hexadecimal."""
        for segment in self.segments:
            if segment.type == PT_NOTE:
                for owner, kind, description in self.notes(segment):
                    if owner == "GNU" and kind == NT_GNU_BUILD_ID:
                        return description.hex()
        names = self.section_names()
        if ".note.gnu.build-id" in names:
            section = names[".note.gnu.build-id"]
            as_segment = Segment(PT_NOTE, 0, section.offset, 0, 0, section.file_size, 0, section.align)
            for owner, kind, description in self.notes(as_segment):
                if owner == "GNU" and kind == NT_GNU_BUILD_ID:
                    return description.hex()
        return None

    @property
    def is_program(self) -> bool:
        """An executable, position independent or not, rather than a shared object."""
        if self.type == ET_EXEC or (self.dynamic_value(DT_FLAGS_1) or 0) & DF_1_PIE:
            return True
        interpreted = any(segment.type == PT_INTERP for segment in self.segments)
        return interpreted and self.dynamic_value(DT_SONAME) is None
