"""`Elf`: one file's bytes and what its headers say of them."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from stemrw.elf._headers import HEADER, SECTION_SIZE, SEGMENT_SIZE, Section, Segment, align
from stemrw.elf.constants import (
    DF_1_PIE,
    DT_FLAGS_1,
    DT_SONAME,
    DT_STRTAB,
    EM_386,
    EM_X86_64,
    ET_CORE,
    ET_DYN,
    ET_EXEC,
    ET_REL,
    NT_GNU_BUILD_ID,
    PAGE,
    PN_XNUM,
    PT_DYNAMIC,
    PT_INTERP,
    PT_LOAD,
    PT_NOTE,
    SHF_EXECINSTR,
    SHN_XINDEX,
    SHT_NOBITS,
    SHT_NOTE,
)
from stemrw.errors import BinaryError

_COPIED = 1 << 29
_SEGMENT_TABLE = 1 << 16
"""Bytes of program headers that the kernel reads; it refuses files with more."""
_LONGEST_BUILD_ID = 64
"""Bytes.  Linkers make 8 to 32; a file name is made of it, so it cannot be anything."""
_ADDRESS_END = 1 << 64


class Elf:
    """A 64-bit x86 executable or shared object.

    `path` names it in errors, and may be None. Raises BinaryError for any other file, and for one whose program headers
    cannot be true. Section headers are not needed to run: where they are absent or damaged there are none.
    """

    def __init__(self, data: bytes | mmap.mmap, path: Path | str | None = None) -> None:
        self.data = data
        self.path = path
        if data[:4] != b"\x7fELF":
            raise self._error("this is not an ELF file")
        if len(data) < HEADER.size:
            raise self._error("the file ends within its ELF header", hint="the file is incomplete")
        (ident, self.type, self.machine, _, self.entry, self.segment_table, self.section_table, _, _,
         segment_size, segment_count, section_size, section_count, names_index) = HEADER.unpack_from(data)  # fmt: skip
        self._check_kind(ident)
        self.segments = self._segments(segment_size, segment_count)
        self._section_header = (section_size, section_count, names_index)

    @classmethod
    def open(cls, path: Path | str) -> Elf:
        """Read a file.  Raises BinaryError."""
        return cls(read_binary(path), path)

    def _error(self, what: str, *, address: int | None = None, hint: str | None = None) -> BinaryError:
        return BinaryError(what, file=self.path, address=address, hint=hint)

    def _check_kind(self, ident: bytes) -> None:
        if ident[5] == 1 and (self.machine == EM_386 or (ident[4] == 1 and self.machine == EM_X86_64)):
            raise self._error("32-bit x86 files cannot be hardened yet", hint="only x86-64 is supported")
        if ident[4] != 2 or ident[5] != 1 or self.machine != EM_X86_64:
            kind = f"{'64' if ident[4] == 2 else '32'}-bit, {'little' if ident[5] == 1 else 'big'}-endian"
            raise self._error(f"this is not an x86-64 file: {kind}, ELF machine {self.machine}")
        if self.type not in (ET_EXEC, ET_DYN):
            what = {ET_REL: "a relocatable object", ET_CORE: "a core dump"}.get(self.type, f"ELF type {self.type}")
            raise self._error(f"this is {what}, neither a program nor a shared object", hint="give the linked file")

    def _segments(self, size: int, count: int) -> list[Segment]:
        end = self.segment_table + count * SEGMENT_SIZE
        if not count or count == PN_XNUM or size != SEGMENT_SIZE:
            raise self._error(f"it has no usable program headers ({count} of {size} bytes each)")
        if end - self.segment_table > _SEGMENT_TABLE:
            raise self._error(f"{count} program headers are more than any system loads", hint="is it damaged?")
        if end > len(self.data):
            raise self._error("the program headers lie beyond the end of the file", hint="is it truncated?")
        segments = Segment.unpack(self.data[self.segment_table : end])
        loads = [segment for segment in segments if segment.kind == PT_LOAD]
        for load in loads:
            if load.offset + load.file_size > len(self.data):
                what = f"a segment needs file bytes up to {load.offset + load.file_size:#x}"
                raise self._error(
                    f"{what}, the file has {len(self.data):#x}", address=load.address, hint="is it truncated?"
                )
            if load.file_size > load.memory_size or load.end >= _ADDRESS_END:
                raise self._error("a segment's sizes cannot be true", address=load.address)
        if sum(load.file_size for load in loads) > 2 * len(self.data) + PAGE * len(loads):  # each is read as a whole
            raise self._error("the segments take the same bytes of the file several times over", hint="is it damaged?")
        for a, b in zip(loads, loads[1:], strict=False):
            if a.end > b.address:
                raise self._error("the PT_LOAD program headers overlap or do not ascend", address=b.address)
        if not any(load.executable for load in loads):
            raise self._error("the file has no executable segment")
        return segments

    @cached_property
    def sha256(self) -> str:
        """Of the whole file, as hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def loads(self) -> list[Segment]:
        """The PT_LOAD segments, by address."""
        return [segment for segment in self.segments if segment.kind == PT_LOAD]

    @cached_property
    def code_segments(self) -> list[Segment]:
        """The segments that hold code, by address."""
        return [load for load in self.loads if load.executable]

    @cached_property
    def texts(self) -> list[range]:
        """The addresses of machine code that the file holds, by address.

        That is what its executable sections cover. Where it has none they are the executable segments as a whole: older
        linkers put the read-only data, which can be most of them, into these too.
        """
        segments = [range(load.address, load.address + load.file_size) for load in self.code_segments]
        sections = [range(s.address, s.address + s.size) for s in self.sections if s.flags & SHF_EXECINSTR and s.size]
        held = [s for s in sections if any(s.start in each and s.stop - 1 in each for each in segments)]
        return sorted(held, key=lambda each: each.start) if held and len(held) == len(sections) else segments

    @cached_property
    def names_index(self) -> int:
        """Number of the section that holds the names of sections."""
        first = self._first_section
        index = self._section_header[2]
        return first.link if first is not None and index == SHN_XINDEX else index

    @property
    def _first_section(self) -> Section | None:
        """Section header 0, which holds the numbers that are too large for the file header (generic ABI)."""
        end = self.section_table + SECTION_SIZE
        usable = self.section_table and self._section_header[0] == SECTION_SIZE and end <= len(self.data)
        return Section.unpack(self.data[self.section_table : end])[0] if usable else None

    @cached_property
    def sections(self) -> list[Section]:
        """All section headers, with names; none where they are absent or unusable."""
        first = self._first_section
        if first is None:
            return []
        count = self._section_header[1] or first.size
        end = self.section_table + count * SECTION_SIZE
        if end > len(self.data) or self.names_index >= count:
            return []
        raw = Section.unpack(self.data[self.section_table : end])
        names = self.section_bytes(raw[self.names_index])
        return [replace(section, name=c_string(names, section.name_offset)) for section in raw]

    def section(self, name: str) -> Section | None:
        """The first section of a name."""
        return next((section for section in self.sections if section.name == name), None)

    def section_bytes(self, section: Section) -> bytes:
        """Its file content; empty where it has none, or lies beyond the end of the file."""
        if section.kind == SHT_NOBITS or section.offset + section.size > len(self.data):
            return b""
        return bytes(self.data[section.offset : section.offset + section.size])

    def is_code(self, address: int) -> bool:
        """Whether an address lies in an executable segment."""
        return any(segment.holds(address) for segment in self.code_segments)

    def offset_of(self, address: int) -> int | None:
        """File offset of the byte at a link-time address; None where the file holds no byte for it."""
        for load in self.loads:
            if load.has_bytes(address):
                return address - load.address + load.offset
        return None

    def read(self, address: int, size: int) -> bytes:
        """Up to `size` file bytes from a link-time address on; shorter at the end of a segment, empty outside."""
        for load in self.loads:
            if load.has_bytes(address):
                at = load.offset + address - load.address
                return bytes(self.data[at : min(at + size, load.offset + load.file_size)])
        return b""

    def code(self, address: int, size: int) -> bytes:
        """As `read`, but from executable segments only."""
        return self.read(address, size) if self.is_code(address) else b""

    def word(self, address: int) -> int | None:
        """The 64-bit word at a link-time address, before relocation."""
        raw = self.read(address, 8)
        return int.from_bytes(raw, "little") if len(raw) == 8 else None

    def notes(self, segment: Segment) -> Iterator[tuple[bytes, int, bytes]]:
        """Owner (with its NULs), type and description of each note in a PT_NOTE segment."""
        content = bytes(self.data[segment.offset : segment.offset + segment.file_size])
        return _notes(content, 8 if segment.align == 8 else 4)

    @cached_property
    def build_id(self) -> str | None:
        """GNU build-id as lower-case hexadecimal digits."""
        for segment in self.segments:
            if segment.kind == PT_NOTE and (found := _build_id(self.notes(segment))):
                return found
        for section in self.sections:
            if section.kind == SHT_NOTE and (found := _build_id(_notes(self.section_bytes(section), 4))):
                return found
        return None

    @cached_property
    def dynamic(self) -> dict[int, list[int]]:
        """The dynamic section: values by tag; empty for static files."""
        found: dict[int, list[int]] = {}
        for segment in self.segments:
            if segment.kind == PT_DYNAMIC:
                content = self.data[segment.offset : segment.offset + segment.file_size]
                for tag, value in struct.iter_unpack("<QQ", content[: len(content) & -16]):
                    if tag == 0:
                        break
                    found.setdefault(tag, []).append(value)
        return found

    def dynamic_value(self, tag: int) -> int:
        """The value of a tag, the last one as for the loader; 0 where there is none."""
        return self.dynamic.get(tag, [0])[-1]

    def dynamic_string(self, index: int) -> str:
        """A string of the dynamic string table."""
        at = self.offset_of(self.dynamic_value(DT_STRTAB))
        if at is None:
            return ""
        end = self.data.find(b"\0", at + index)
        return bytes(self.data[at + index : end]).decode("utf-8", "replace") if end >= 0 else ""

    @cached_property
    def is_program(self) -> bool:
        """An executable of any link mode, rather than a shared object."""
        if self.type == ET_EXEC or self.dynamic_value(DT_FLAGS_1) & DF_1_PIE:
            return True
        interpreted = any(segment.kind == PT_INTERP for segment in self.segments)
        return interpreted and not self.dynamic_value(DT_SONAME)


def read_binary(source: Path | str | int) -> bytes | mmap.mmap:
    """The bytes of a regular file, by path or open descriptor.  Raises BinaryError.

    Files of more than 512 MiB are mapped; others are copied, so that nobody who cuts them off meanwhile takes pages
    from under us (SIGBUS).
    """
    name = source if not isinstance(source, int) else None
    try:
        if isinstance(source, int):
            return _read_descriptor(source, name)
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe's open must not wait
        try:
            return _read_descriptor(descriptor, name)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BinaryError(f"cannot be read: {reason}", file=name) from error


def _read_descriptor(descriptor: int, name: Path | str | None) -> bytes | mmap.mmap:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise BinaryError("cannot be read: it is a directory", file=name)
    if not stat.S_ISREG(status.st_mode):
        raise BinaryError("this is not a regular file", file=name)
    if status.st_size == 0:
        raise BinaryError("the file is empty", file=name)
    if status.st_size > _COPIED:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        return file.read(status.st_size)


def c_string(table: bytes, offset: int) -> str:
    """The NUL-terminated string at an offset; empty where the offset is out of range."""
    if offset >= len(table):
        return ""
    end = table.find(b"\0", offset)
    return table[offset : end if end >= 0 else len(table)].decode("utf-8", "replace")


def _notes(content: bytes, padding: int) -> Iterator[tuple[bytes, int, bytes]]:
    at = 0
    while at + 12 <= len(content):
        owner_size, size, kind = struct.unpack_from("<III", content, at)
        begin = at + align(12 + owner_size, padding)
        yield content[at + 12 : at + 12 + owner_size], kind, content[begin : begin + size]
        at = begin + align(size, padding)


def _build_id(notes: Iterator[tuple[bytes, int, bytes]]) -> str | None:
    for owner, kind, text in notes:
        if owner == b"GNU\0" and kind == NT_GNU_BUILD_ID and 0 < len(text) <= _LONGEST_BUILD_ID:
            return text.hex()
    return None
