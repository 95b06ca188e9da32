"""Names and sizes of functions: `.symtab`, `.dynsym`, mini debug info (`.gnu_debugdata`) and a separate debug file.

Also which library function a PLT stub or a GOT slot leads to. Everything is read when it is first asked for.
"""

from __future__ import annotations

import contextlib
import lzma
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stemrw.elf import (
    R_X86_64_64,
    R_X86_64_COPY,
    R_X86_64_GLOB_DAT,
    R_X86_64_JUMP_SLOT,
    Elf,
    SymbolTable,
    dynamic_symbols,
    relocations,
    symbol_table,
)
from stemrw.elf.constants import SHT_DYNSYM, SHT_SYMTAB
from stemrw.errors import BinaryError

DEBUG_ROOT = Path("/usr/lib/debug")
_MINI_DEBUG_INFO = 64 << 20
"""Bytes that `.gnu_debugdata` may unpack to, and that unpacking may take; that of the largest programs is some MB."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A defined function symbol; `table` says where the name comes from, in words for people."""

    name: str
    address: int
    size: int
    table: str


class FunctionSymbols:
    """All function symbols that any table of a file knows, the best table first."""

    def __init__(self, elf: Elf, debug_root: Path = DEBUG_ROOT) -> None:
        self._tables = list(_tables(elf, debug_root))

    @cached_property
    def _places(self) -> dict[int, tuple[int, int, int]]:
        """Address → number of the table, size and place of the name, of the first symbol there."""
        found: dict[int, tuple[int, int, int]] = {}
        for number, (table, _) in enumerate(self._tables):
            for address, size, name in table.functions():
                if address not in found:
                    found[address] = number, size, name
        return found

    @cached_property
    def addresses(self) -> list[int]:
        """Of all symbols, ascending."""
        return sorted(self._places)

    @cached_property
    def _sized(self) -> list[int]:
        return sorted(address for address, (_, size, _) in self._places.items() if size)

    def at(self, address: int) -> Symbol | None:
        """The best symbol of an address."""
        place = self._places.get(address)
        if place is None:
            return None
        table, source = self._tables[place[0]]
        return Symbol(table.name(place[2]), address, place[1], source)

    def covering(self, address: int) -> Symbol | None:
        """The sized symbol whose range holds an address."""
        i = bisect_right(self._sized, address) - 1
        found = self.at(self._sized[i]) if i >= 0 else None
        return found if found is not None and address < found.address + found.size else None

    def named(self, name: str) -> list[int]:
        """Addresses of the symbols of a name, each once."""
        found: dict[int, None] = {}
        for table, _ in self._tables:
            places = table.places(name)
            if places:
                found |= dict.fromkeys(address for address, _, place in table.functions() if place in places)
        return list(found)


def debug_file(build_id: str | None, root: Path = DEBUG_ROOT) -> Path | None:
    """The separate debug file that distributions install for a build-id, if it is there."""
    if not build_id or len(build_id) < 4:
        return None
    path = root / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    return path if path.is_file() else None


def _tables(elf: Elf, debug_root: Path) -> Iterator[tuple[SymbolTable, str]]:
    """Tables with their names for people, the best first."""
    yield from _from_sections(elf, SHT_SYMTAB, ".symtab")
    if elf.sections:
        yield from _from_sections(elf, SHT_DYNSYM, ".dynsym")
    else:
        yield dynamic_symbols(elf), ".dynsym"
    yield from _mini_debug_info(elf)
    path = debug_file(elf.build_id, debug_root)
    if path is not None:
        with contextlib.suppress(BinaryError):  # a broken debug file is no reason not to patch the program
            yield from _from_sections(Elf.open(path), SHT_SYMTAB, str(path))


def _mini_debug_info(elf: Elf) -> Iterator[tuple[SymbolTable, str]]:
    """Fedora's `.gnu_debugdata`: an xz-compressed ELF file whose `.symtab` holds what `.dynsym` lacks."""
    section = elf.section(".gnu_debugdata")
    if section is not None:
        with contextlib.suppress(lzma.LZMAError, BinaryError):
            unpacker = lzma.LZMADecompressor(memlimit=_MINI_DEBUG_INFO)
            inner = Elf(unpacker.decompress(elf.section_bytes(section), _MINI_DEBUG_INFO), elf.path)
            yield from _from_sections(inner, SHT_SYMTAB, ".gnu_debugdata")


def _from_sections(elf: Elf, kind: int, name: str) -> Iterator[tuple[SymbolTable, str]]:
    table = symbol_table(elf, kind)
    if table.has_names:
        yield table, name


def imports(elf: Elf) -> dict[int, str]:
    """GOT slot address → name of the library function that the loader puts there."""
    symbols = dynamic_symbols(elf)
    bound = relocations(elf, R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT)
    return {r.place: symbols[r.symbol].name for r in bound if 0 < r.symbol < len(symbols)}


def exports(elf: Elf) -> dict[str, int]:
    """Name of each dynamic symbol that this file defines → its address."""
    return {symbol.name: symbol.value for symbol in dynamic_symbols(elf)[:] if symbol.section and symbol.value}


def copied(elf: Elf) -> dict[int, str]:
    """Address of a library's variable in this program's own memory → its name (`stderr`)."""
    symbols = dynamic_symbols(elf)
    return {r.place: symbols[r.symbol].name for r in relocations(elf, R_X86_64_COPY) if 0 < r.symbol < len(symbols)}


def labels(elf: Elf, name: str) -> list[int]:
    """Addresses of the symbols of a name in `.symtab`, whatever their kind, each once."""
    table = symbol_table(elf, SHT_SYMTAB)
    entries = (table[index] for index in table.indexes(name))
    return sorted({entry.value for entry in entries if entry.section and entry.name == name})
