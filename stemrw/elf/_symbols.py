"""Entries of symbol tables."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from stemrw.elf._file import c_string

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


def symbol_entries(table: bytes, strings: bytes, kinds: frozenset[int] | None = None) -> Iterator[SymbolEntry]:
    """The entries of a table with its strings; only those of some `kinds` (STT_…) if given."""
    for name, info, _, section, value, size in _ENTRY.iter_unpack(table[: len(table) // SYMBOL_SIZE * SYMBOL_SIZE]):
        if kinds is None or info & 15 in kinds:
            yield SymbolEntry(c_string(strings, name), info & 15, section, value, size)
