"""Where the numbers of an ELF file stand: every field of every table.  Knows nothing of the tool's own reader."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PT_LOAD, PT_DYNAMIC, PT_NOTE, PT_GNU_EH_FRAME = 1, 2, 4, 0x6474E550
SHT_SYMTAB, SHT_RELA, SHT_HASH, SHT_NOTE, SHT_NOBITS, SHT_DYNSYM, SHT_RELR = 2, 4, 5, 7, 8, 11, 19
SHT_GNU_HASH = 0x6FFFFFF6

EHDR_SIZE, PHDR_SIZE, SHDR_SIZE = 64, 56, 64
_EHDR = {
    "class": (4, 1), "data": (5, 1), "version": (6, 1), "osabi": (7, 1), "type": (16, 2), "machine": (18, 2),
    "entry": (24, 8), "phoff": (32, 8), "shoff": (40, 8), "flags": (48, 4), "ehsize": (52, 2), "phentsize": (54, 2),
    "phnum": (56, 2), "shentsize": (58, 2), "shnum": (60, 2), "shstrndx": (62, 2),
}  # fmt: skip
_PHDR = {
    "type": (0, 4), "flags": (4, 4), "offset": (8, 8), "vaddr": (16, 8), "paddr": (24, 8), "filesz": (32, 8),
    "memsz": (40, 8), "align": (48, 8),
}  # fmt: skip
_SHDR = {
    "name": (0, 4), "type": (4, 4), "flags": (8, 8), "addr": (16, 8), "offset": (24, 8), "size": (32, 8),
    "link": (40, 4), "info": (44, 4), "addralign": (48, 8), "entsize": (56, 8),
}  # fmt: skip
_SYM = {"name": (0, 4), "info": (4, 1), "shndx": (6, 2), "value": (8, 8), "size": (16, 8)}
_RELA = {"offset": (0, 8), "type": (8, 4), "symbol": (12, 4), "addend": (16, 8)}
_NOTE = {"namesz": (0, 4), "descsz": (4, 4), "type": (8, 4)}
_GNU_HASH = {"nbuckets": (0, 4), "symoffset": (4, 4), "bloom_size": (8, 4), "bloom_shift": (12, 4), "word": (16, 8)}
_HASH = {"nbucket": (0, 4), "nchain": (4, 4), "word": (8, 4)}


@dataclass(frozen=True)
class Field:
    """A little-endian number of `size` bytes at a file offset, and its name for people."""

    name: str
    offset: int
    size: int

    def get(self, data: bytes | bytearray) -> int:
        return int.from_bytes(data[self.offset : self.offset + self.size], "little")

    def put(self, data: bytearray, value: int) -> None:
        data[self.offset : self.offset + self.size] = (value & ((1 << 8 * self.size) - 1)).to_bytes(self.size, "little")


@dataclass(frozen=True)
class Table:
    """The place of one program or section header and what it says."""

    index: int
    at: int
    kind: int
    offset: int
    address: int
    size: int
    link: int = 0
    name: str = ""

    def field(self, name: str) -> Field:
        """A field of a section header."""
        offset, size = _SHDR[name]
        return Field(f"section {self.index} {self.name}.{name}", self.at + offset, size)

    def segment_field(self, name: str) -> Field:
        """A field of a program header."""
        offset, size = _PHDR[name]
        return Field(f"segment {self.index}.{name}", self.at + offset, size)


def header(name: str) -> Field:
    """A field of the ELF header."""
    return Field(f"header.{name}", *_EHDR[name])


def segments(data: bytes | bytearray) -> list[Table]:
    """All program headers."""
    found = []
    for i in range(header("phnum").get(data)):
        at = header("phoff").get(data) + i * PHDR_SIZE
        kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", data, at)
        found.append(Table(i, at, kind, offset, address, size))
    return found


def sections(data: bytes | bytearray) -> list[Table]:
    """All section headers, with names; none where the file has none."""
    start, count = header("shoff").get(data), header("shnum").get(data)
    if not start:
        return []
    rows = [(start + i * SHDR_SIZE, *struct.unpack_from("<IIQQQQI", data, start + i * SHDR_SIZE)) for i in range(count)]
    strings = rows[header("shstrndx").get(data)][5]
    return [
        Table(i, at, kind, offset, address, size, link, _string(data, strings + name))
        for i, (at, name, kind, _, address, offset, size, link) in enumerate(rows)
    ]


def section(data: bytes | bytearray, name: str) -> Table | None:
    """The first section of a name."""
    return next((found for found in sections(data) if found.name == name), None)


def _string(data: bytes | bytearray, at: int) -> str:
    return data[at : data.find(b"\0", at)].decode("latin-1")


def fields(data: bytes) -> dict[str, list[Field]]:
    """All fields of a well-formed file, by family."""
    found: dict[str, list[Field]] = {
        "header": [header(name) for name in _EHDR],
        "segments": [t.segment_field(name) for t in segments(data) for name in _PHDR],
        "sections": [t.field(name) for t in sections(data) for name in _SHDR],
        "dynamic": list(_dynamic(data)),
        "unwind": list(_unwind(data)),
    }
    for table in [*sections(data), *(t for t in segments(data) if t.kind == PT_NOTE)]:
        for family, field in _contents(table):
            found.setdefault(family, []).append(field)
    return {family: some for family, some in found.items() if some}


def _rows(name: str, table: Table, row: dict[str, tuple[int, int]], step: int, most: int = 24) -> Iterator[Field]:
    count = table.size // step
    for i in sorted({*range(min(count, most // 2)), *range(max(0, count - most // 2), count)}):
        for part, (offset, size) in row.items():
            yield Field(f"{name}[{i}].{part}", table.offset + i * step + offset, size)


def _contents(table: Table) -> Iterator[tuple[str, Field]]:
    """The fields inside a section that has a structure; of a note segment the first note's."""
    if table.kind in (SHT_SYMTAB, SHT_DYNSYM):
        yield from (("symbols", f) for f in _rows(table.name, table, _SYM, 24))
    elif table.kind == SHT_RELA and table.name.startswith(".rela") and table.at:
        yield from (("relocations", f) for f in _rows(table.name, table, _RELA, 24))
    elif table.kind == SHT_RELR:
        yield from (("relocations", f) for f in _rows(table.name, table, {"word": (0, 8)}, 8))
    elif table.kind == SHT_HASH:
        yield from (("hashes", Field(f"{table.name}.{n}", table.offset + o, s)) for n, (o, s) in _HASH.items())
    elif table.kind == SHT_GNU_HASH:
        yield from (("hashes", Field(f"{table.name}.{n}", table.offset + o, s)) for n, (o, s) in _GNU_HASH.items())
        yield from (("hashes", f) for f in _rows(table.name, table, {"u32": (0, 4)}, 4))
    elif table.kind == SHT_NOTE or (not table.name and table.kind == PT_NOTE):
        yield from (("notes", Field(f"note {table.index}.{n}", table.offset + o, s)) for n, (o, s) in _NOTE.items())


def _dynamic(data: bytes) -> Iterator[Field]:
    for table in segments(data):
        if table.kind == PT_DYNAMIC:
            for i in range(table.size // 16):
                tag = struct.unpack_from("<Q", data, table.offset + 16 * i)[0]
                yield Field(f"dynamic[{i}].tag", table.offset + 16 * i, 8)
                yield Field(f"dynamic[{i}].value (tag {tag:#x})", table.offset + 16 * i + 8, 8)
                if tag == 0:
                    break


def _unwind(data: bytes) -> Iterator[Field]:
    """The four encodings and the numbers of .eh_frame_hdr; lengths, pointers and first bytes of .eh_frame's records."""
    for table in segments(data):
        if table.kind == PT_GNU_EH_FRAME:
            yield from (Field(f"eh_frame_hdr byte {i}", table.offset + i, 1) for i in range(4))
            words = range(table.offset + 4, table.offset + min(table.size, 64) // 4 * 4, 4)
            yield from (Field(f"eh_frame_hdr+{at - table.offset:#x}", at, 4) for at in words)
    frame = section(data, ".eh_frame")
    if frame is None:
        return
    at, end = frame.offset, frame.offset + frame.size
    for _ in range(12):
        length = struct.unpack_from("<I", data, at)[0] if at + 4 <= end else 0
        if not length:
            break
        where = f"eh_frame+{at - frame.offset:#x}"
        yield Field(f"{where} length", at, 4)
        yield Field(f"{where} CIE pointer", at + 4, 4)
        yield from (Field(f"{where} byte {i}", at + i, 1) for i in range(8, min(4 + length, 32)))
        at += 4 + length
