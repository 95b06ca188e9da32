"""Names and sizes of functions: `.symtab`, `.dynsym`, mini debug info (`.gnu_debugdata`) and a separate debug file.

Also which library function a PLT stub or a GOT slot leads to. Everything is read when it is first asked for.
"""

from __future__ import annotations

import contextlib
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stemrw.elf import (
    R_X86_64_64,
    R_X86_64_GLOB_DAT,
    R_X86_64_IRELATIVE,
    R_X86_64_JUMP_SLOT,
    R_X86_64_RELATIVE,
    Elf,
    dynamic_symbols,
    relocations,
    relr_places,
    symbol_entries,
)
from stemrw.elf.constants import SHT_DYNSYM, SHT_SYMTAB, STT_FUNC, STT_GNU_IFUNC
from stemrw.errors import BinaryError

_FUNCTIONS = frozenset((STT_FUNC, STT_GNU_IFUNC))
_BINDS = (R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT)

DEBUG_ROOT = Path("/usr/lib/debug")


@dataclass(frozen=True, slots=True)
class Symbol:
    """A defined function symbol; `table` says where the name comes from, in words for people."""

    name: str
    address: int
    size: int
    table: str


def debug_file(build_id: str | None, root: Path = DEBUG_ROOT) -> Path | None:
    """The separate debug file that distributions install for a build-id, if it is there."""
    if not build_id or len(build_id) < 4:
        return None
    path = root / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    return path if path.is_file() else None


def function_symbols(elf: Elf, debug_root: Path = DEBUG_ROOT) -> list[Symbol]:
    """All function symbols that any table knows, the best table first."""
    found = list(_from_sections(elf, ".symtab", SHT_SYMTAB))
    found += _from_sections(elf, ".dynsym", SHT_DYNSYM) if elf.sections else _from_dynamic(elf)
    found += _mini_debug_info(elf)
    path = debug_file(elf.build_id, debug_root)
    if path is not None:
        with contextlib.suppress(BinaryError):  # a broken debug file is no reason not to patch the program
            found += [Symbol(s.name, s.address, s.size, str(path)) for s in _debug_symbols(Elf.open(path))]
    return found


def _debug_symbols(elf: Elf) -> Iterator[Symbol]:
    return _from_sections(elf, ".symtab", SHT_SYMTAB)


def _mini_debug_info(elf: Elf) -> list[Symbol]:
    """Fedora's `.gnu_debugdata`: an xz-compressed ELF file whose `.symtab` holds what `.dynsym` lacks."""
    section = elf.section(".gnu_debugdata")
    if section is None:
        return []
    try:
        inner = Elf(lzma.decompress(elf.section_bytes(section)), elf.path)
    except (lzma.LZMAError, BinaryError):
        return []
    return [Symbol(s.name, s.address, s.size, ".gnu_debugdata") for s in _debug_symbols(inner)]


def _from_sections(elf: Elf, table: str, kind: int) -> Iterator[Symbol]:
    for section in elf.sections:
        if section.kind == kind and section.link < len(elf.sections):
            strings = elf.section_bytes(elf.sections[section.link])
            yield from _symbols(elf.section_bytes(section), strings, table)


def _from_dynamic(elf: Elf) -> list[Symbol]:
    """`.dynsym` through the dynamic table, for files without section headers."""
    return list(_symbols(*dynamic_symbols(elf), ".dynsym"))


def _symbols(raw: bytes, strings: bytes, table: str) -> Iterator[Symbol]:
    for entry in symbol_entries(raw, strings, _FUNCTIONS):
        if entry.section and entry.value:
            yield Symbol(entry.name, entry.value, entry.size, table)


def imports(elf: Elf) -> dict[int, str]:
    """GOT slot address → name of the library function that the loader puts there."""
    names = [entry.name for entry in symbol_entries(*dynamic_symbols(elf))]
    bound = (r for r in relocations(elf) if r.kind in _BINDS and 0 < r.symbol < len(names))
    return {relocation.place: names[relocation.symbol] for relocation in bound}


def stored_pointers(elf: Elf) -> dict[int, int]:
    """Place → address inside the file that the loader stores there: function tables, vtables, GOT entries."""
    found = {r.place: r.addend for r in relocations(elf) if r.kind in (R_X86_64_RELATIVE, R_X86_64_IRELATIVE)}
    for place in relr_places(elf):
        value = elf.word(place)
        if value is not None:
            found[place] = value
    return found
