"""Thousands of ways to break an ELF file, each with a name, the same in every run.

    truncated     cut off at and around every boundary that the headers name, and at other places
    FAMILY        one number of a table (see elf_fields) replaced by an absurd one
    debris        a stretch of bytes of a section overwritten
    composed      what takes more than one number: overlaps, cycles, escape values, compressed bombs

The families are sampled with a fixed seed: a test takes some hundreds per file, a campaign takes all.
"""

from __future__ import annotations

import lzma
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from hostile.elf_fields import (
    EHDR_SIZE,
    PHDR_SIZE,
    PT_DYNAMIC,
    PT_LOAD,
    PT_NOTE,
    SHDR_SIZE,
    SHT_NOBITS,
    Field,
    Table,
    fields,
    header,
    section,
    sections,
    segments,
)

PAGE = 4096
BOMB = 3 << 30
"""Bytes that a compressed section claims to hold, and holds."""
SHF_COMPRESSED, ELFCOMPRESS_ZLIB = 1 << 11, 1


@dataclass(frozen=True)
class Mutant:
    """A broken file: its name says what was done.  `data` is made when it is asked for."""

    name: str
    make: Callable[[], bytes]

    @property
    def data(self) -> bytes:
        return self.make()


def mutants(data: bytes, seed: str, each: int | None = None, *, large: bool = True) -> dict[str, list[Mutant]]:
    """Mutants of a well-formed file by family; at most `each` of every family but "composed".

    Of that all, or all but those that take the tool seconds (`large`).
    """
    families = {
        "truncated": [Mutant(f"cut off at {at:#x}", partial(_cut, data, at)) for at in _cuts(data, seed)],
        "debris": list(_debris(data, seed)),
    }
    for family, some in fields(data).items():
        families[family] = [
            Mutant(f"{field.name} = {value:#x}", partial(_with, data, field, value))
            for field in some
            for value in absurd(field, data)
        ]
    if each is not None:
        families = {
            family: random.Random(f"{seed} {family}").sample(some, each) if len(some) > each else some
            for family, some in families.items()
        }
    tables = {section.name for section in sections(data)}
    kinds = {segment.kind for segment in segments(data)}
    families["composed"] = [
        Mutant(name, partial(_changed, data, change))
        for name, (change, needs, is_large) in COMPOSED.items()
        if (large or not is_large) and all(need in (tables if isinstance(need, str) else kinds) for need in needs)
    ]
    return families


def absurd(field: Field, data: bytes) -> list[int]:
    """Values that a number must not have, or only just may: extremes, neighbours, the file's own places."""
    old, most, size = field.get(data), (1 << 8 * field.size) - 1, len(data)
    high = 1 << 8 * field.size - 1
    values = [0, 1, most, high, high - 1, old + 1, old - 1, old ^ high, most - PAGE + 1]
    if field.size >= 4:
        values += [size, size - 1, size + 1, field.offset, 1 << 31, old + PAGE, old << 8, most // 56, most // 24, 3]
    return sorted({value & most for value in values} - {old})


def _changed(data: bytes, change: Change) -> bytes:
    return bytes(change(bytearray(data)))


def _cut(data: bytes, at: int) -> bytes:
    return data[:at]


def _with(data: bytes, field: Field, value: int) -> bytes:
    changed = bytearray(data)
    field.put(changed, value)
    return bytes(changed)


def _cuts(data: bytes, seed: str) -> list[int]:
    edges = {0, 1, 4, 5, 16, 18, 52, EHDR_SIZE, len(data)}
    for table in segments(data):
        edges |= {table.at, table.at + PHDR_SIZE, table.offset, table.offset + table.size}
    for table in sections(data):
        edges |= {table.at, table.at + SHDR_SIZE, table.offset}
        edges |= {table.offset + table.size} if table.kind != SHT_NOBITS else set()
    random_cuts = random.Random(f"{seed} cuts")
    cuts = {edge + near for edge in edges for near in (-1, 0, 1)}
    cuts |= {random_cuts.randrange(len(data)) for _ in range(40)}
    return sorted(cut for cut in cuts if 0 <= cut < len(data))


def _debris(data: bytes, seed: str) -> Iterator[Mutant]:
    """Random stretches in every section, of four kinds of filling."""
    tables = [t for t in sections(data) if t.size and t.kind != SHT_NOBITS] or [
        t for t in segments(data) if t.kind == PT_LOAD
    ]
    for table in tables:
        for filling in ("zeros", "ones", "random", "elsewhere"):
            chance = random.Random(f"{seed} {table.index} {filling}")
            start = table.offset + chance.randrange(table.size)
            length = min(chance.choice((1, 2, 8, 64, table.size)), table.offset + table.size - start)
            name = f"{table.name or table.index}: {length} bytes of {filling} at {start:#x}"
            yield Mutant(name, partial(_filled, data, start, length, filling, seed))


def _filled(data: bytes, start: int, length: int, filling: str, seed: str) -> bytes:
    chance = random.Random(f"{seed} {start} {length}")
    from_there = chance.randrange(len(data) - length)
    new = {
        "zeros": bytes(length),
        "ones": b"\xff" * length,
        "random": chance.randbytes(length),
        "elsewhere": data[from_there : from_there + length],
    }[filling]
    return data[:start] + new + data[start + length :]


# What takes more than one number

Change = Callable[[bytearray], bytearray]
COMPOSED: dict[str, tuple[Change, tuple[str | int, ...], bool]] = {}
"""By name: the change, the sections (names) and segments (types) that the file must have, and whether it is large."""


def _composed(*needs: str | int, large: bool = False) -> Callable[[Change], Change]:
    def enter(change: Change) -> Change:
        COMPOSED[change.__name__.replace("_", " ")] = change, needs, large
        return change

    return enter


def _section(data: bytearray, name: str) -> Table:
    return next(found for found in sections(data) if found.name == name)


def _put(data: bytearray, *values: tuple[Field, int]) -> bytearray:
    for field, value in values:
        field.put(data, value)
    return data


@_composed()
def segments_overlap(data: bytearray) -> bytearray:
    loads = [s for s in segments(data) if s.kind == PT_LOAD]
    return _put(data, *((s.segment_field("vaddr"), loads[0].address) for s in loads))


@_composed()
def segments_descend(data: bytearray) -> bytearray:
    loads = [s for s in segments(data) if s.kind == PT_LOAD]
    rows = [bytes(data[s.at : s.at + PHDR_SIZE]) for s in loads]
    for load, row in zip(loads, reversed(rows), strict=True):
        data[load.at : load.at + PHDR_SIZE] = row
    return data


@_composed()
def segments_share_their_bytes(data: bytearray) -> bytearray:
    return _put(data, *((s.segment_field("offset"), 0) for s in segments(data) if s.kind == PT_LOAD))


@_composed()
def every_segment_is_code(data: bytearray) -> bytearray:
    return _put(data, *((s.segment_field("flags"), 7) for s in segments(data)))


@_composed()
def every_segment_is_loaded(data: bytearray) -> bytearray:
    return _put(data, *((s.segment_field("type"), PT_LOAD) for s in segments(data)))


@_composed()
def every_segment_is_a_note(data: bytearray) -> bytearray:
    return _put(data, *((s.segment_field("type"), PT_NOTE) for s in segments(data) if s.kind != PT_LOAD))


@_composed()
def every_segment_is_dynamic(data: bytearray) -> bytearray:
    return _put(data, *((s.segment_field("type"), PT_DYNAMIC) for s in segments(data) if s.kind != PT_LOAD))


@_composed()
def last_segment_ends_with_the_address_space(data: bytearray) -> bytearray:
    load = [s for s in segments(data) if s.kind == PT_LOAD][-1]
    return _put(data, (load.segment_field("memsz"), (1 << 64) - load.address - 1))


@_composed()
def last_segment_fills_half_of_the_address_space(data: bytearray) -> bytearray:
    load = [s for s in segments(data) if s.kind == PT_LOAD][-1]
    return _put(data, (load.segment_field("memsz"), 1 << 46))


@_composed()
def last_segment_is_far_away(data: bytearray) -> bytearray:
    load = [s for s in segments(data) if s.kind == PT_LOAD][-1]
    return _put(data, (load.segment_field("vaddr"), load.address + (1 << 40)))


@_composed(".shstrtab")
def number_of_segments_is_in_section_0(data: bytearray) -> bytearray:
    first = sections(data)[0]
    count = header("phnum").get(data)
    return _put(data, (header("phnum"), 0xFFFF), (first.field("info"), count))


@_composed(".shstrtab")
def number_of_segments_in_section_0_is_absurd(data: bytearray) -> bytearray:
    first = sections(data)[0]
    return _put(data, (header("phnum"), 0xFFFF), (first.field("info"), 0xFFFFFFFF))


@_composed(".shstrtab")
def number_of_sections_is_in_section_0(data: bytearray) -> bytearray:
    first = sections(data)[0]
    return _put(data, (first.field("size"), header("shnum").get(data)), (header("shnum"), 0))


@_composed(".shstrtab")
def number_of_sections_in_section_0_is_absurd(data: bytearray) -> bytearray:
    first = sections(data)[0]
    return _put(data, (first.field("size"), (1 << 64) // SHDR_SIZE - 1), (header("shnum"), 0))


@_composed(".shstrtab")
def names_of_sections_are_found_through_section_0(data: bytearray) -> bytearray:
    first = sections(data)[0]
    return _put(data, (first.field("link"), header("shstrndx").get(data)), (header("shstrndx"), 0xFFFF))


@_composed(".shstrtab")
def table_of_names_names_itself(data: bytearray) -> bytearray:
    names = _section(data, ".shstrtab")
    return _put(data, (names.field("link"), names.index), (names.field("offset"), names.at), (names.field("size"), 64))


@_composed(".shstrtab")
def table_of_names_is_the_whole_file(data: bytearray) -> bytearray:
    names = _section(data, ".shstrtab")
    return _put(data, (names.field("offset"), 0), (names.field("size"), len(data)))


@_composed(".shstrtab")
def sections_link_in_a_cycle(data: bytearray) -> bytearray:
    tables = sections(data)
    return _put(data, *((t.field("link"), (t.index + 1) % len(tables)) for t in tables))


@_composed(".shstrtab")
def every_section_is_a_symbol_table(data: bytearray) -> bytearray:
    return _put(data, *((t.field("type"), 2) for t in sections(data)))


@_composed(".shstrtab", large=True)
def twenty_thousand_symbol_tables(data: bytearray) -> bytearray:
    """Each as large as the file."""
    _put(data, (header("shoff"), len(data)), (header("shnum"), 20_000), (header("shstrndx"), 0))
    return data + struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, 0, len(data), 0, 0, 8, 24) * 20_000


@_composed(PT_DYNAMIC, large=True)
def relative_relocations_are_everywhere(data: bytearray) -> bytearray:
    """The file's bytes from a last loaded segment on, as bitmaps of relocated words: millions."""
    loads = [s for s in segments(data) if s.kind == PT_LOAD]
    dynamic = next(s for s in segments(data) if s.kind == PT_DYNAMIC)
    ones = b"\xff" * (8 << 20)
    offset = len(data) + -len(data) % PAGE + loads[-1].address % PAGE
    entries = struct.pack("<6Q", 36, loads[-1].address, 35, len(ones), 0, 0)
    _put(data, (loads[-1].segment_field("offset"), offset), (loads[-1].segment_field("filesz"), len(ones)))
    _put(data, (loads[-1].segment_field("memsz"), len(ones)), (dynamic.segment_field("filesz"), len(entries)))
    _put(data, (dynamic.segment_field("offset"), offset + len(ones)))
    return data.ljust(offset, b"\0") + ones + entries


@_composed(".symtab", ".strtab", large=True)
def one_name_a_million_times(data: bytearray) -> bytearray:
    """In the table of strings, while the symbols' table is one byte pattern that holds every place again and again."""
    table, strings = _section(data, ".symtab"), _section(data, ".strtab")
    names, symbols = b"victim\0" * 150_000, struct.pack("<IBBHQQ", 7, 0x12, 0, 1, 0x1000, 8) * 50_000
    _put(data, (strings.field("offset"), len(data)), (strings.field("size"), len(names)))
    _put(data, (table.field("offset"), len(data) + len(names)), (table.field("size"), len(symbols)))
    return data + names + symbols


@_composed(".shstrtab")
def every_section_is_a_note(data: bytearray) -> bytearray:
    return _put(data, *((t.field("type"), 7) for t in sections(data)))


@_composed(".shstrtab")
def every_section_is_the_whole_file(data: bytearray) -> bytearray:
    tables = sections(data)
    return _put(data, *((t.field("offset"), 0) for t in tables), *((t.field("size"), len(data)) for t in tables))


@_composed(".shstrtab", large=True)
def twenty_thousand_sections(data: bytearray) -> bytearray:
    tables = sections(data)
    rows = b"".join(bytes(data[t.at : t.at + SHDR_SIZE]) for t in tables)
    _put(data, (header("shoff"), len(data)), (header("shnum"), 20_000 // len(tables) * len(tables)))
    return data + rows * (20_000 // len(tables))


@_composed(large=True)
def sixty_thousand_segments(data: bytearray) -> bytearray:
    rows = b"".join(bytes(data[s.at : s.at + PHDR_SIZE]) for s in segments(data))
    null = bytes(PHDR_SIZE) * 60_000
    count = header("phnum").get(data)
    _put(data, (header("phoff"), len(data)), (header("phnum"), count + 60_000))
    return data + rows + null


@_composed(PT_NOTE, large=True)
def sixty_thousand_notes(data: bytearray) -> bytearray:
    notes = struct.pack("<III4sI", 4, 0, 1, b"GNU\0", 0)[:16] * 60_000
    note = next(s for s in segments(data) if s.kind == PT_NOTE)
    rows = [(note.segment_field("offset"), len(data)), (note.segment_field("filesz"), len(notes))]
    return _put(data, *rows) + notes


@_composed(PT_NOTE)
def note_of_no_length(data: bytearray) -> bytearray:
    note = next(s for s in segments(data) if s.kind == PT_NOTE)
    data[note.offset : note.offset + note.size] = bytes(note.size)
    return data


@_composed(PT_NOTE, large=True)
def build_id_is_a_megabyte(data: bytearray) -> bytearray:
    note = next(s for s in segments(data) if s.kind == PT_NOTE)
    new = struct.pack("<III4s", 4, 1 << 20, 3, b"GNU\0") + bytes(1 << 20)
    _put(data, (note.segment_field("offset"), len(data)), (note.segment_field("filesz"), len(new)))
    return data + new


@_composed(PT_NOTE)
def build_id_is_one_byte(data: bytearray) -> bytearray:
    note = next(s for s in segments(data) if s.kind == PT_NOTE)
    new = struct.pack("<III4sI", 4, 1, 3, b"GNU\0", 7)
    _put(data, (note.segment_field("offset"), len(data)), (note.segment_field("filesz"), len(new)))
    return data + new


@_composed(PT_DYNAMIC)
def dynamic_table_never_ends(data: bytearray) -> bytearray:
    dynamic = next(s for s in segments(data) if s.kind == PT_DYNAMIC)
    return _put(data, (dynamic.segment_field("offset"), 0), (dynamic.segment_field("filesz"), len(data)))


@_composed(PT_DYNAMIC, large=True)
def dynamic_table_says_everything_again_and_again(data: bytearray) -> bytearray:
    dynamic = next(s for s in segments(data) if s.kind == PT_DYNAMIC)
    entries = bytes(data[dynamic.offset : dynamic.offset + 16]) * 300_000
    _put(data, (dynamic.segment_field("offset"), len(data)), (dynamic.segment_field("filesz"), len(entries)))
    return data + entries


@_composed(".gnu.hash")
def chain_of_hashes_never_ends(data: bytearray) -> bytearray:
    table = _section(data, ".gnu.hash")
    _put(data, (header("shoff"), 0), (header("shnum"), 0), (header("shstrndx"), 0))  # so that the hash table is needed
    buckets, _, bloom, _ = struct.unpack_from("<IIII", data, table.offset)
    chains = table.offset + 16 + 8 * bloom + 4 * buckets
    for at in range(chains, table.offset + table.size, 4):
        struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] & ~1)
    return data


def _unwind_entries(data: bytearray) -> Iterator[int]:
    """File offsets of the FDEs in .eh_frame."""
    frame = _section(data, ".eh_frame")
    at, end = frame.offset, frame.offset + frame.size
    while at + 16 <= end:
        length, cie = struct.unpack_from("<II", data, at)
        if not length:
            break
        if cie:
            yield at
        at += 4 + length


@_composed(".eh_frame")
def unwind_entries_cover_everything(data: bytearray) -> bytearray:
    for at in _unwind_entries(data):
        struct.pack_into("<I", data, at + 12, 0xFFFFFFFF)
    return data


@_composed(".eh_frame", ".eh_frame_hdr")
def unwind_table_is_endless_nothing(data: bytearray) -> bytearray:
    frame = _section(data, ".eh_frame")
    hdr = _section(data, ".eh_frame_hdr")
    data[hdr.offset : hdr.offset + hdr.size] = bytes(hdr.size)
    data[frame.offset : frame.offset + frame.size] = bytes(frame.size)
    return data


@_composed(".eh_frame")
def unwind_entry_is_its_own_parent(data: bytearray) -> bytearray:
    for at in _unwind_entries(data):
        struct.pack_into("<I", data, at + 4, 4)
    return data


@_composed(".symtab")
def symbol_name_is_a_terminal_attack(data: bytearray) -> bytearray:
    return _renamed(data, b"\x1b]0;owned\x07\x1b[2J\xe2\x80\xae\xff\n" * 3)


@_composed(".symtab", large=True)
def symbol_name_is_a_megabyte(data: bytearray) -> bytearray:
    return _renamed(data, b"A" * (1 << 20))


def _renamed(data: bytearray, name: bytes) -> bytearray:
    """All function symbols get one name, at the end of the file."""
    table, strings = _section(data, ".symtab"), _section(data, ".strtab")
    _put(data, (strings.field("size"), len(data) - strings.offset + len(name) + 1))
    for at in range(table.offset, table.offset + table.size, 24):
        if data[at + 4] & 15 == 2:
            struct.pack_into("<I", data, at, len(data) - strings.offset)
    return data + name + b"\0"


@_composed(".shstrtab", large=True)
def debug_data_is_a_bomb(data: bytearray) -> bytearray:
    """Some hundred KB of xz that become 3 GiB, as the mini debug info that is read for names."""
    packed = _xz_zeros(BOMB)
    return _as_section(data, ".gnu_debugdata", packed)


@_composed(".debug_info", large=True)
def dwarf_is_a_bomb(data: bytearray) -> bytearray:
    """Compressed .debug_info of 3 GiB."""
    info = _section(data, ".debug_info")
    packed = struct.pack("<IIQQ", ELFCOMPRESS_ZLIB, 0, BOMB, 1) + _zlib_zeros(BOMB)
    flags = info.field("flags")
    _put(data, (flags, flags.get(data) | SHF_COMPRESSED))
    return _moved(data, info.index, packed)


@_composed(".debug_info", large=True)
def dwarf_bomb_lies_about_its_size(data: bytearray) -> bytearray:
    info = _section(data, ".debug_info")
    packed = struct.pack("<IIQQ", ELFCOMPRESS_ZLIB, 0, 64, 1) + _zlib_zeros(BOMB)
    flags = info.field("flags")
    _put(data, (flags, flags.get(data) | SHF_COMPRESSED))
    return _moved(data, info.index, packed)


@_composed(".debug_info", large=True)
def dwarf_is_a_million_units(data: bytearray) -> bytearray:
    """The first unit again and again, without an index: 16 MiB to walk through."""
    info = _section(data, ".debug_info")
    content = bytes(data[info.offset : info.offset + info.size])
    ranges = section(data, ".debug_aranges")
    if ranges is not None:
        _put(data, (ranges.field("name"), 0), (ranges.field("size"), 0))
    return _moved(data, info.index, content * ((16 << 20) // len(content)))


@_composed(".debug_info", large=True)
def dwarf_is_zeros(data: bytearray) -> bytearray:
    info = _section(data, ".debug_info")
    return _moved(data, info.index, bytes(16 << 20))


@_composed(".debug_info")
def dwarf_types_are_cycles(data: bytearray) -> bytearray:
    """Every reference of four bytes to another entry becomes one to the unit's own place 0x2a, or thereabouts."""
    info = _section(data, ".debug_info")
    for at in range(info.offset + 12, info.offset + info.size - 4):
        value = struct.unpack_from("<I", data, at)[0]
        if 0xB < value < info.size:
            struct.pack_into("<I", data, at, at - info.offset)
    return data


def _as_section(data: bytearray, name: str, content: bytes) -> bytearray:
    """The last section, which need not be loaded, becomes one of this name."""
    tables, names = sections(data), _section(data, ".shstrtab")
    victim = next(t for t in reversed(tables) if not t.address and t.index != names.index)
    data = _moved(data, victim.index, content)
    _put(data, (victim.field("type"), 1), (victim.field("name"), names.size))
    text = bytes(data[names.offset : names.offset + names.size]) + name.encode() + b"\0"
    return _moved(data, names.index, text)


def _moved(data: bytearray, index: int, content: bytes) -> bytearray:
    """A section's content is now this, at the end of the file."""
    table = sections(data)[index]
    _put(data, (table.field("offset"), len(data)), (table.field("size"), len(content)))
    return data + content


def _xz_zeros(size: int) -> bytes:
    """Many xz streams, one behind the other, as `xz -dc` and lzma accept them."""
    piece = 64 << 20
    return lzma.compress(bytes(piece), preset=1) * (size // piece)


def _zlib_zeros(size: int) -> bytes:
    """A stream of independent blocks that are all the same; its checksum is wrong, which is noticed too late."""
    packer, piece = zlib.compressobj(9), bytes(1 << 20)
    first = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * (size >> 20) + packer.flush()
