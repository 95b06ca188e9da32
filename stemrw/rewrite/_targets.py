"""Where no indirect branch of the program's own leads in one file, for the rule `stack`.

A pointer to code comes from a relocation, a symbol that others can look up, a word of data, or an instruction that
makes an address. All that could be one of these is looked for in the bytes, and each find counts: too many only make
the check weaker. A function that nothing points to is reached by direct calls and jumps alone.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Iterator
from itertools import chain

from stemrw.elf import Elf, dynamic_symbols, relocations, relr_places, symbol_table
from stemrw.elf.constants import DT_FINI, DT_INIT, ET_EXEC, SHT_SYMTAB, STT_FUNC
from stemrw.image import unwind_table

_LEA_RIP = re.compile(rb"(?=\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])")
_CALL = re.compile(rb"(?=\xe8)")


def never_taken(elf: Elf) -> bytes:
    """The table of `RULE_STACK` in runtime/include/rules.h: uint32_t, ascending."""
    code = range(min(load.address for load in elf.code_segments), max(load.end for load in elf.code_segments))
    entries = _functions(elf, code)
    words = sorted(address - code.start for address in entries.difference(_pointers(elf, code, entries)))
    return struct.pack(f"<{len(words)}I", *words)


def _functions(elf: Elf, code: range) -> set[int]:
    """Where a function begins for certain: a part that was split from one can be led to by a table of jumps."""
    symbols = [
        s for s in chain(symbol_table(elf, SHT_SYMTAB), dynamic_symbols(elf)) if s.kind == STT_FUNC and s.section
    ]
    named = {s.value for s in symbols if ".cold" not in s.name and s.value in code}
    unwind = unwind_table(elf)
    fdes = {start for start in unwind.starts if (fde := unwind.at(start)) is not None and fde.starts_as_function}
    split = {s.value for s in symbols if ".cold" in s.name}
    return named | (fdes & _called(elf)) - split


def _called(elf: Elf) -> set[int]:
    return {at + 5 + _signed(content, i + 1) for at, i, content in _places(elf, _CALL, 5)}


def _pointers(elf: Elf, code: range, entries: set[int]) -> Iterator[int]:
    yield elf.entry
    yield from (elf.dynamic_value(tag) for tag in (DT_INIT, DT_FINI))
    symbols = dynamic_symbols(elf)
    yield from (symbol.value for symbol in symbols)
    for relocation in relocations(elf):
        yield relocation.addend
        if relocation.symbol < len(symbols):
            yield symbols[relocation.symbol].value + relocation.addend
    yield from (elf.word(place) or 0 for place in relr_places(elf))
    yield from (at + 6 + _signed(content, i + 2) for at, i, content in _places(elf, _LEA_RIP, 6))
    if elf.type == ET_EXEC:
        yield from _words(elf, code)
    yield from entries & set(_distances(elf))


def _places(elf: Elf, pattern: re.Pattern[bytes], size: int) -> Iterator[tuple[int, int, bytes]]:
    """Address, offset and content of all that looks like an instruction of `size` bytes in the code."""
    for text in elf.texts:
        content = elf.read(text.start, len(text))
        for found in pattern.finditer(content, 0, max(len(content) - size + 1, 0)):
            yield text.start + found.start(), found.start(), content


def _signed(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4], "little", signed=True)


def _words(elf: Elf, code: range) -> Iterator[int]:
    """Addresses as they stand in data and in immediates of a file that is not moved: none has more than 32 bits."""
    for load in elf.loads:
        for _, words in _by_alignment(elf.read(load.address, load.file_size), "I"):
            yield from (word for word in words if word in code)


def _distances(elf: Elf) -> Iterator[int]:
    """What words of data lead to that hold the distance from themselves, as relative tables do; unwind entries, which
    do so for every function, are no pointers."""
    skipped = [*elf.texts]
    skipped += [range(s.address, s.address + s.size) for s in elf.sections if s.name == ".eh_frame"]
    for load in elf.loads:
        content = bytearray(elf.read(load.address, load.file_size))
        for one in skipped:
            first, last = max(one.start - load.address, 0), min(one.stop - load.address, len(content))
            if first < last:
                content[first:last] = bytes(last - first)
        for start, words in _by_alignment(content, "i"):
            yield from (load.address + start + 4 * i + word for i, word in enumerate(words) if word)


def _by_alignment(content: bytes | bytearray, kind: str) -> Iterator[tuple[int, array[int]]]:
    for start in range(4):
        yield start, array(kind, bytes(content[start : start + (len(content) - start) // 4 * 4]))
