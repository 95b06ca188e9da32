"""Names and sizes of functions: `.symtab`, `.dynsym`, mini debug info (`.gnu_debugdata`) and a separate debug file.

Also which library function a PLT stub or a GOT slot leads to. Everything is read when it is first asked for.
"""

from __future__ import annotations

import contextlib
import lzma
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stemrw.errors import BinaryError
from stemrw.image._elf import SHT_DYNSYM, SHT_SYMTAB, Elf, c_string

_SYM = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
STT_FUNC, STT_GNU_IFUNC = 2, 10
DT_PLTRELSZ, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_STRSZ, DT_JMPREL = 2, 4, 5, 6, 7, 8, 10, 23
DT_GNU_HASH = 0x6FFF_FEF5
DT_RELRSZ, DT_RELR = 35, 36
R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, R_X86_64_RELATIVE, R_X86_64_IRELATIVE = 1, 6, 7, 8, 37

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
    raw, strings = _dynamic_tables(elf)
    return list(_symbols(raw, strings, ".dynsym"))


def _dynamic_tables(elf: Elf) -> tuple[bytes, bytes]:
    dynamic = elf.dynamic
    if DT_SYMTAB not in dynamic or DT_STRTAB not in dynamic:
        return b"", b""
    raw = elf.read(dynamic[DT_SYMTAB], _SYM.size * _dynamic_symbol_count(elf))
    return raw, elf.read(dynamic[DT_STRTAB], dynamic.get(DT_STRSZ, 0))


def _dynamic_symbol_count(elf: Elf) -> int:
    """No tag says how many symbols there are; the hash tables do."""
    if DT_HASH in elf.dynamic:
        head = elf.read(elf.dynamic[DT_HASH], 8)
        return int(struct.unpack("<II", head)[1]) if len(head) == 8 else 0
    if DT_GNU_HASH not in elf.dynamic:
        return 0
    table = elf.dynamic[DT_GNU_HASH]
    head = elf.read(table, 16)
    if len(head) < 16:
        return 0
    buckets, first, bloom, _ = struct.unpack("<IIII", head)
    buckets_at = table + 16 + 8 * bloom
    raw = elf.read(buckets_at, 4 * buckets)
    last = max(struct.unpack(f"<{len(raw) // 4}I", raw), default=0)
    if last < first:
        return int(first)
    while True:  # the last chain ends with an odd hash
        word = elf.read(buckets_at + 4 * buckets + 4 * (last - first), 4)
        last += 1
        if len(word) < 4 or word[0] & 1:
            return last


def _symbols(raw: bytes, strings: bytes, table: str) -> Iterator[Symbol]:
    for name, info, _, section, value, size in _SYM.iter_unpack(raw[: len(raw) // _SYM.size * _SYM.size]):
        if info & 15 in (STT_FUNC, STT_GNU_IFUNC) and section and value:
            yield Symbol(c_string(strings, name), value, size, table)


def imports(elf: Elf) -> dict[int, str]:
    """GOT slot address → name of the library function that the loader puts there."""
    raw, strings = _dynamic_tables(elf)
    found = {}
    for slot, info, _ in relocations(elf):
        if info & 0xFFFF_FFFF in (R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT):
            at = (info >> 32) * _SYM.size
            if at + _SYM.size <= len(raw) and info >> 32:
                found[slot] = c_string(strings, _SYM.unpack_from(raw, at)[0])
    return found


def relocations(elf: Elf) -> Iterator[tuple[int, int, int]]:
    """(place, info, addend) of every dynamic relocation with addend."""
    dynamic = elf.dynamic
    for table, size in ((DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)):
        if table in dynamic:
            raw = elf.read(dynamic[table], dynamic.get(size, 0))
            yield from _RELA.iter_unpack(raw[: len(raw) // _RELA.size * _RELA.size])


def stored_pointers(elf: Elf) -> dict[int, int]:
    """Place → address inside the file that the loader stores there: function tables, vtables, GOT entries."""
    found = {p: a for p, i, a in relocations(elf) if i & 0xFFFF_FFFF in (R_X86_64_RELATIVE, R_X86_64_IRELATIVE)}
    if DT_RELR in elf.dynamic:
        for place in _relr_places(elf.read(elf.dynamic[DT_RELR], elf.dynamic.get(DT_RELRSZ, 0))):
            value = elf.word(place)
            if value is not None:
                found[place] = value
    return found


def _relr_places(raw: bytes) -> Iterator[int]:
    """Packed relative relocations: an address, then bitmaps of the 63 words behind it (ELF gABI, SHT_RELR)."""
    base = 0
    for (word,) in struct.iter_unpack("<Q", raw[: len(raw) // 8 * 8]):
        if word & 1 == 0:
            yield word
            base = word + 8
        else:
            yield from (base + 8 * i for i in range(63) if word >> i + 1 & 1)
            base += 63 * 8
