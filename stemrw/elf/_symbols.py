"""Symbol tables: nothing is decoded before it is asked for, for some have hundreds of thousands of entries."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

from stemrw.elf._file import Elf, c_string
from stemrw.elf.constants import STT_FUNC, STT_GNU_IFUNC

_ENTRY = struct.Struct("<IBBHQQ")
SYMBOL_SIZE = _ENTRY.size
"""Bytes of one entry."""


class SymbolEntry(NamedTuple):
    """One symbol; `section` 0 means undefined, `size` is in bytes."""

    name: str
    kind: int
    section: int
    value: int
    size: int


class SymbolTable(Sequence[SymbolEntry]):
    """The entries of one table."""

    def __init__(self, table: bytes, strings: bytes) -> None:
        self._raw = table[: len(table) // SYMBOL_SIZE * SYMBOL_SIZE]
        self._strings = strings

    def __len__(self) -> int:
        return len(self._raw) // SYMBOL_SIZE

    @overload
    def __getitem__(self, index: int) -> SymbolEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[SymbolEntry]: ...
    def __getitem__(self, index: int | slice) -> SymbolEntry | list[SymbolEntry]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        name, info, _, section, value, size = _ENTRY.unpack_from(self._raw, index % len(self) * SYMBOL_SIZE)
        return SymbolEntry(c_string(self._strings, name), info & 15, section, value, size)

    @property
    def has_names(self) -> bool:
        return bool(self._strings)

    def functions(self, *others: int) -> Iterator[tuple[int, int, int]]:
        """Address, size in bytes and place of the name (see `name`) of every defined function.

        `others` are further kinds of symbols (STT_…) that are wanted.
        """
        kinds = (STT_FUNC, STT_GNU_IFUNC, *others)
        for name, info, _, section, value, size in _ENTRY.iter_unpack(self._raw):
            if info & 15 in kinds and section and value:
                yield value, size, name

    def name(self, place: int) -> str:
        """The string at a place in the table's strings; empty where there is none."""
        return c_string(self._strings, place)

    def places(self, name: str) -> set[int]:
        """Every place at which a name stands in the table's strings; also as the end of a longer one."""
        sought = name.encode("utf-8", "surrogateescape") + b"\0"
        return set(occurrences(self._strings, sought))

    def indexes(self, name: str) -> list[int]:
        """Numbers of the entries of a name."""
        starts = (at for place in self.places(name) for at in occurrences(self._raw, place.to_bytes(4, "little")))
        return sorted(at // SYMBOL_SIZE for at in starts if at % SYMBOL_SIZE == 0)


def symbol_table(elf: Elf, kind: int) -> SymbolTable:
    """The table of a kind (SHT_SYMTAB, SHT_DYNSYM), of which there is at most one (generic ABI); else an empty one.

    Where the section of its names is damaged, it has none.
    """
    section = next((section for section in elf.sections if section.kind == kind), None)
    if section is None:
        return SymbolTable(b"", b"")
    strings = elf.section_bytes(elf.sections[section.link]) if section.link < len(elf.sections) else b""
    return SymbolTable(elf.section_bytes(section), strings)


def occurrences(data: bytes, sought: bytes) -> Iterator[int]:
    """Every place at which a byte string stands."""
    at = data.find(sought)
    while at >= 0:
        yield at
        at = data.find(sought, at + 1)
