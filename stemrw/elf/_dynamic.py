"""What the dynamic loader reads: relocations and dynamic symbols, found without section headers."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from stemrw.elf._file import Elf
from stemrw.elf._symbols import SYMBOL_SIZE, SymbolTable, occurrences
from stemrw.elf.constants import (
    DT_GNU_HASH,
    DT_HASH,
    DT_JMPREL,
    DT_PLTRELSZ,
    DT_RELA,
    DT_RELASZ,
    DT_RELR,
    DT_RELRSZ,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMTAB,
)

R_X86_64_64, R_X86_64_COPY, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT = 1, 5, 6, 7
R_X86_64_RELATIVE, R_X86_64_IRELATIVE = 8, 37
_RELA = struct.Struct("<QQq")
_TABLES = ((DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ))


class Relocation(NamedTuple):
    """One dynamic relocation with addend; `symbol` is an index, 0 for none."""

    place: int
    kind: int
    symbol: int
    addend: int


def relocations(elf: Elf, *kinds: int) -> Iterator[Relocation]:
    """The dynamic relocations with addend, of data and of the procedure linkage table; of some kinds only, if given."""
    for table, size in _TABLES:
        raw = elf.read(elf.dynamic_value(table), elf.dynamic_value(size))
        for place, info, addend in _RELA.iter_unpack(raw[: len(raw) // _RELA.size * _RELA.size]):
            if not kinds or info & 0xFFFF_FFFF in kinds:
                yield Relocation(place, info & 0xFFFF_FFFF, info >> 32, addend)


class RelativePointers:
    """Addresses inside the file that the loader stores somewhere: function tables, vtables, GOT entries.

    Libraries have hundreds of thousands: they are looked for in the relocations' bytes, not listed.
    """

    def __init__(self, elf: Elf) -> None:
        self._elf = elf
        self._table, of_stubs = (elf.read(elf.dynamic_value(table), elf.dynamic_value(size)) for table, size in _TABLES)
        found = chain(_entries_with(self._table, R_X86_64_IRELATIVE, 8), _entries_with(of_stubs, R_X86_64_IRELATIVE, 8))
        self._indirect = {place: addend for place, _, addend in found}

    @cached_property
    def _packed(self) -> array[int]:
        return array("Q", relr_places(self._elf))

    def at(self, place: int) -> int | None:
        """What the loader stores at an address."""
        i = bisect_left(self._packed, place)
        if i < len(self._packed) and self._packed[i] == place:
            return self._elf.word(place)
        return next((addend for _, addend in self._matches(place, 0)), self._indirect.get(place))

    def holds(self, address: int) -> bool:
        """Whether the loader stores an address anywhere."""
        return (
            any(self._matches(address, 16))
            or address in self._indirect.values()
            or any(self._elf.word(place) == address for place in self._packed)
        )

    def _matches(self, value: int, field: int) -> Iterator[tuple[int, int]]:
        """Place and addend of the relative relocations in which the 8 bytes at offset `field` are `value`."""
        for place, info, addend in _entries_with(self._table, value, field):
            if info == R_X86_64_RELATIVE:
                yield place, addend


def bound_to(elf: Elf, symbol: int, *kinds: int) -> Iterator[int]:
    """Where the loader puts the address of a dynamic symbol, given by its number; by relocations of some kinds."""
    for table, size in _TABLES:
        raw = elf.read(elf.dynamic_value(table), elf.dynamic_value(size))
        for kind in kinds:
            yield from (place for place, _, _ in _entries_with(raw, symbol << 32 | kind, 8))


def _entries_with(table: bytes, value: int, field: int) -> Iterator[tuple[int, int, int]]:
    """The entries of a relocation table in which the 8 bytes at offset `field` are `value`."""
    for at in occurrences(table, value.to_bytes(8, "little")):
        if at % _RELA.size == field and at - field + _RELA.size <= len(table):
            yield _RELA.unpack_from(table, at - field)


def relr_places(elf: Elf) -> Iterator[int]:
    """Packed relative relocations: an address, then bitmaps of the 63 words behind it (generic ABI, SHT_RELR).

    They ascend, and lie where the file has bytes: a table that says otherwise is damaged and ends there, or a few
    bytes could name any number of places.
    """
    raw = elf.read(elf.dynamic_value(DT_RELR), elf.dynamic_value(DT_RELRSZ))
    base, end = 0, max(load.address + load.file_size for load in elf.loads)
    for (word,) in struct.iter_unpack("<Q", raw[: len(raw) & -8]):
        if word & 1 == 0:
            if not base <= word < end:
                return
            yield word
            base = word + 8
        else:
            if base >= end:
                return
            places = range(base, min(base + 63 * 8, end), 8)
            yield from (place for i, place in enumerate(places, 1) if word >> i & 1)
            base += 63 * 8


def dynamic_symbols(elf: Elf) -> SymbolTable:
    """The dynamic symbol table; empty where there is none."""
    if DT_SYMTAB not in elf.dynamic or DT_STRTAB not in elf.dynamic:
        return SymbolTable(b"", b"")
    raw = elf.read(elf.dynamic_value(DT_SYMTAB), SYMBOL_SIZE * _symbol_count(elf))
    return SymbolTable(raw, elf.read(elf.dynamic_value(DT_STRTAB), elf.dynamic_value(DT_STRSZ)))


def _symbol_count(elf: Elf) -> int:
    """No tag says how many symbols there are: the hash tables do, and relocations name further ones."""
    if DT_HASH in elf.dynamic:
        head = elf.read(elf.dynamic_value(DT_HASH), 8)
        return int(struct.unpack("<II", head)[1]) if len(head) == 8 else 0
    named = max((relocation.symbol for relocation in relocations(elf)), default=-1) + 1
    return max(named, _gnu_hash_count(elf))


def _gnu_hash_count(elf: Elf) -> int:
    table = elf.dynamic_value(DT_GNU_HASH)
    head = elf.read(table, 16)
    if not table or len(head) < 16:
        return 0
    buckets, first, bloom, _ = struct.unpack("<IIII", head)
    buckets_at = table + 16 + 8 * bloom
    raw = elf.read(buckets_at, 4 * buckets)
    last = max(struct.unpack(f"<{len(raw) // 4}I", raw[: len(raw) & -4]), default=0)
    if last < first:
        return int(first)
    chain = elf.read(buckets_at + 4 * buckets + 4 * (last - first), 1 << 20)
    for i, (word,) in enumerate(struct.iter_unpack("<I", chain[: len(chain) & -4])):  # the last chain ends odd
        if word & 1:
            return last + i + 1
    return last + 1
