"""One file as a loader would put it into memory: addresses, relocations, thread-local storage, imports."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from stemrw.elf import (
    R_X86_64_64,
    R_X86_64_GLOB_DAT,
    R_X86_64_IRELATIVE,
    R_X86_64_JUMP_SLOT,
    R_X86_64_RELATIVE,
    Elf,
    Relocation,
    SymbolEntry,
    align,
    dynamic_symbols,
    relocations,
    relr_places,
)
from stemrw.elf.constants import ET_EXEC, PAGE, PF_R, PF_W, PF_X, PT_TLS
from stemrw.verify.emulate._imports import TLS_DESCRIPTOR, Imports
from stemrw.verify.emulate._memory import EXECUTE, READ, WRITE

BIAS = 0x5555_5555_4000
"""Load bias of position-independent files."""
STACK, STACK_BYTES = 0x7FFD_0000_0000, 0x40000
ARENA, ARENA_BYTES = 0x7F00_0000_0000, 0x10000
"""Where pointers of generated inputs lead."""
TLS_AREA, THREAD_BYTES = 0x7E00_0000_0000, 0x2000

_DTPMOD, _DTPOFF, _TPOFF, _TLSDESC = 16, 17, 18, 36
_SHT_RELA, _SHF_ALLOC = 4, 2
_STT_OBJECT = 1
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Piece:
    """Bytes that are mapped at page-aligned `start`; `content` begins at `address`, zero up to `end`."""

    start: int
    end: int
    rights: int
    address: int
    content: bytes
    offset: int


class Program:
    """The original file, loaded: everything that original and hardened process have in common.

    `glibc`: threads have glibc's control block, else musl's.
    """

    def __init__(self, elf: Elf, *, glibc: bool) -> None:
        self.elf = elf
        self._glibc = glibc
        self.bias = 0 if elf.type == ET_EXEC else BIAS
        self._symbols = dynamic_symbols(elf)
        tls = next((segment for segment in elf.segments if segment.kind == PT_TLS), None)
        self.tls_size = align(tls.memory_size, max(tls.align, 1)) if tls else 0
        template = bytes(elf.data[tls.offset : tls.offset + tls.file_size]) if tls else b""
        self.imports = Imports([s.name for s in self._symbols if not s.section and s.name], self.tls_size)
        self.thread_block = TLS_AREA + align(self.tls_size, PAGE) + PAGE
        self.tls_bytes = self.thread_block - TLS_AREA + THREAD_BYTES
        self._tls_template = template
        self.words: dict[int, int] = {}
        """Relocated words, by run-time address."""
        self.resolvers: dict[int, int] = {}
        """Address of a word → address of the function that says what goes there."""
        for relocation in _all_relocations(elf):
            self._relocate(relocation)
        for place in relr_places(elf):
            self.words[self.bias + place] = self.bias + (elf.word(place) or 0)

    def pieces(self, elf: Elf) -> list[Piece]:
        """The PT_LOAD segments of `elf`: the original or its hardened copy."""
        pieces: list[Piece] = []
        taken = 0
        for load in elf.loads:
            address = load.address + self.bias
            start, end = max(address & -PAGE, taken), align(address + load.memory_size, PAGE)
            rights = sum(right for flag, right in ((PF_R, READ), (PF_W, WRITE), (PF_X, EXECUTE)) if load.flags & flag)
            content = bytes(elf.data[load.offset : load.offset + load.file_size])
            pieces.append(Piece(start, max(start, end), rights, address, content, load.offset & -PAGE))
            taken = max(taken, end)
        return pieces

    def writable(self) -> list[tuple[int, bytes]]:
        """Start and relocated content of the original's writable segments, up to the end of .bss."""
        areas = []
        for load in self.elf.loads:
            if load.flags & PF_W and load.memory_size:
                content = bytearray(load.memory_size)
                content[: load.file_size] = self.elf.data[load.offset : load.offset + load.file_size]
                start = load.address + self.bias
                for at, value in self.words.items():
                    if start <= at <= start + load.memory_size - 8:
                        struct.pack_into("<Q", content, at - start, value)
                areas.append((start, bytes(content)))
        return areas

    def thread_area(self) -> bytes:
        """Thread-local storage of the file, then a control block with which both glibc and musl see one thread."""
        area = bytearray(self.tls_bytes)
        at = self.thread_block - TLS_AREA
        area[at - self.tls_size : at - self.tls_size + len(self._tls_template)] = self._tls_template
        me = self.thread_block
        # glibc: tcb, dtv, self, multiple_threads, sysinfo, stack_guard.  musl: self, dtv, prev, next, …
        words = (me, 0, me, 0 if self._glibc else me, 0, 0x5BD1_E995_0BAD_C000)
        struct.pack_into("<6Q", area, at, *words)
        return bytes(area)

    def _relocate(self, relocation: Relocation) -> None:
        kind, place, addend = relocation.kind, self.bias + relocation.place, relocation.addend
        symbol = self._symbols[relocation.symbol] if relocation.symbol < len(self._symbols) else None
        if kind == R_X86_64_RELATIVE:
            self.words[place] = self.bias + addend & _MASK
        elif kind == R_X86_64_IRELATIVE:
            self.resolvers[place] = self.bias + addend
        elif kind in (R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT) and symbol:
            self.words[place] = self._value(symbol)
        elif kind == R_X86_64_64 and symbol:
            self.words[place] = self._value(symbol) + addend & _MASK
        elif kind == _DTPMOD:
            self.words[place] = 1
        elif kind == _DTPOFF:
            self.words[place] = (symbol.value if symbol else 0) + addend & _MASK
        elif kind == _TPOFF:
            self.words[place] = self._thread_offset(symbol, addend)
        elif kind == _TLSDESC:
            self.words[place] = self.imports.address[TLS_DESCRIPTOR]
            self.words[place + 8] = self._thread_offset(symbol, addend)
        # R_X86_64_COPY: stays zero, or what the input says

    def _value(self, symbol: SymbolEntry) -> int:
        if symbol.section:
            return self.bias + symbol.value
        if symbol.kind == _STT_OBJECT:  # somebody else's data
            return ARENA + 64 * (_hash(symbol.name) % (ARENA_BYTES // 64))
        return self.imports.address.get(symbol.name, 0)  # the index 0, and weak symbols that nobody defines

    def _thread_offset(self, symbol: SymbolEntry | None, addend: int) -> int:
        if symbol is None or symbol.section or not symbol.name:
            return (symbol.value if symbol else 0) + addend - self.tls_size & _MASK
        return -self.tls_size - 64 - 8 * (_hash(symbol.name) % 32) & _MASK  # another module's, such as errno


def _hash(text: str) -> int:
    """The same number for the same text, on every machine."""
    value = 2166136261
    for byte in text.encode():
        value = (value ^ byte) * 16777619 & 0xFFFF_FFFF
    return value


def _all_relocations(elf: Elf) -> Iterator[Relocation]:
    """As the loader would do them; in a static program what its own start-up code does."""
    yield from relocations(elf)
    if elf.dynamic:
        return
    for section in elf.sections:
        if section.kind == _SHT_RELA and section.flags & _SHF_ALLOC:
            for place, info, addend in struct.iter_unpack("<QQq", elf.section_bytes(section)):
                yield Relocation(place, info & 0xFFFF_FFFF, info >> 32, addend)
