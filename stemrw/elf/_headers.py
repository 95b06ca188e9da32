"""Program and section headers as values: unpacked, changed with `replace`, packed again."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from stemrw.elf.constants import PF_X, PT_LOAD

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")


def align(value: int, alignment: int) -> int:
    """The next multiple of `alignment`, which is a power of two."""
    return (value + alignment - 1) & -alignment


@dataclass(frozen=True, slots=True)
class Segment:
    """One program header; addresses are link-time, sizes and offsets in bytes."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    file_size: int
    memory_size: int
    align: int

    @property
    def end(self) -> int:
        """The first address behind the segment in memory."""
        return self.address + self.memory_size

    @property
    def executable(self) -> bool:
        return self.kind == PT_LOAD and bool(self.flags & PF_X)

    def holds(self, address: int) -> bool:
        """Whether an address lies in the segment as it is in memory."""
        return self.address <= address < self.end

    def has_bytes(self, address: int) -> bool:
        """Whether the file holds the byte at an address of the segment."""
        return self.address <= address < self.address + self.file_size

    def pack(self) -> bytes:
        return _SEGMENT.pack(
            self.kind,
            self.flags,
            self.offset,
            self.address,
            self.physical,
            self.file_size,
            self.memory_size,
            self.align,
        )

    @staticmethod
    def unpack(data: bytes) -> list[Segment]:
        """All headers of a table."""
        return [Segment(*fields) for fields in _SEGMENT.iter_unpack(data)]


@dataclass(frozen=True, slots=True)
class Section:
    """One section header; `name_offset` is where its `name` stands in the table of names."""

    name_offset: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int
    name: str = ""

    def pack(self) -> bytes:
        return _SECTION.pack(
            self.name_offset, self.kind, self.flags, self.address, self.offset, self.size, self.link, self.info,
            self.align, self.entry_size,
        )  # fmt: skip

    @staticmethod
    def unpack(data: bytes) -> list[Section]:
        """All headers of a table, still without names."""
        return [Section(*fields) for fields in _SECTION.iter_unpack(data)]


SEGMENT_SIZE, SECTION_SIZE = _SEGMENT.size, _SECTION.size
"""Bytes of one program header and of one section header."""
