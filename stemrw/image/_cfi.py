"""Which address ranges have unwind entries (FDEs) in `.eh_frame`: the functions and fragments of stripped programs.

The sorted table in `.eh_frame_hdr` gives all starts in one C-speed pass; an FDE is decoded only when it is asked for.
Without that table `.eh_frame` is walked from front to back. Formats: Linux Standard Base, "Exception Frames", and
DWARF 5 section 6.4 for the opcodes.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache

from stemrw.elf import Elf
from stemrw.elf.constants import PT_GNU_EH_FRAME

_SIZES = {0x00: 8, 0x02: 2, 0x03: 4, 0x04: 8, 0x0A: 2, 0x0B: 4, 0x0C: 8}
_RSP = 7
_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Fde:
    """One unwind entry: code range [start, start + size).

    `starts_as_function` is whether its first row is that of a function just called: CFA = rsp + 8 and no register
    saved. A part that was split off a function (`.cold`) begins in the middle of a frame and says so here.
    """

    start: int
    size: int
    starts_as_function: bool


@lru_cache(maxsize=1)
def unwind_table(elf: Elf) -> UnwindTable:
    """The table of a file, made once for all who look at the same one."""
    return UnwindTable(elf)


class UnwindTable:
    """All FDEs of a file, found by address. Empty where there is no `.eh_frame`."""

    def __init__(self, elf: Elf) -> None:
        self._elf = elf
        self._fde = lru_cache(maxsize=None)(self._decode)

    @cached_property
    def _table(self) -> tuple[list[int], list[int]]:
        """Sorted starts, and the address of the FDE of each."""
        pairs = self._from_header() or self._from_walk()
        pairs.sort()
        return [p[0] for p in pairs], [p[1] for p in pairs]

    @property
    def starts(self) -> list[int]:
        return self._table[0]

    def at(self, address: int) -> Fde | None:
        """The entry that covers an address."""
        starts, fdes = self._table
        i = bisect_right(starts, address) - 1
        if i < 0:
            return None
        fde = self._fde(fdes[i])
        return fde if fde is not None and fde.start <= address < fde.start + fde.size else None

    def next_start(self, address: int) -> int | None:
        """Start of the first entry behind an address."""
        i = bisect_right(self.starts, address)
        return self.starts[i] if i < len(self.starts) else None

    def _from_header(self) -> list[tuple[int, int]]:
        for segment in self._elf.segments:
            if segment.kind != PT_GNU_EH_FRAME:
                continue
            raw = self._elf.read(segment.address, segment.file_size)
            if len(raw) < 12 or raw[0] != 1 or raw[3] != 0x3B or raw[2] != 0x03:  # datarel sdata4 table, udata4 count
                continue
            pointer = _SIZES.get(raw[1] & 0x0F, 4)
            (count,) = struct.unpack_from("<I", raw, 4 + pointer)
            body = raw[8 + pointer : 8 + pointer + 8 * count]
            base = segment.address
            return [(base + a, base + b) for a, b in struct.iter_unpack("<ii", body[: len(body) // 8 * 8])]
        return []

    def _from_walk(self) -> list[tuple[int, int]]:
        section = self._elf.section(".eh_frame")
        if section is None:
            return []
        found = []
        at, end = section.address, section.address + section.size
        while at + 8 <= end:
            head = self._elf.read(at, 8)
            if len(head) < 8:
                break
            length, cie = struct.unpack("<II", head)
            if length == 0:  # terminator; more may follow where several tables were concatenated
                at += 4
                continue
            if length == 0xFFFF_FFFF:
                break
            if cie:
                fde = self._fde(at)
                if fde is not None:
                    found.append((fde.start, at))
            at += 4 + length
        return found

    def _decode(self, at: int) -> Fde | None:
        head = self._elf.read(at, 8)
        if len(head) < 8:
            return None
        length, delta = struct.unpack("<II", head)
        if length in (0, 0xFFFF_FFFF) or delta == 0:
            return None
        body = self._elf.read(at + 8, length - 4)
        cie = self._cie(at + 4 - delta)
        if cie is None or len(body) != length - 4:
            return None
        try:
            start = _pointer(body, 0, at + 8, cie.encoding)
            size_at = _SIZES[cie.encoding & 0x0F]
            size = _pointer(body, size_at, 0, cie.encoding & 0x0F)
            program = size_at * 2
            if cie.augmented:
                skip, program = _uleb(body, program)
                program += skip
        except (KeyError, IndexError, struct.error):
            return None
        start, size = start & _WORD, size & _WORD
        if size and not any(code.holds(start) and start + size <= code.end for code in self._elf.code_segments):
            return None  # it cannot be true
        return Fde(start, size, cie.plain and _first_row_is_plain(body[program:]))

    @lru_cache(maxsize=64)  # noqa: B019 - one table per file, and it lives as long as the file is looked at
    def _cie(self, at: int) -> _Cie | None:
        head = self._elf.read(at, 8)
        if len(head) < 8:
            return None
        length, marker = struct.unpack("<II", head)
        body = self._elf.read(at + 8, length - 4) if 4 < length < 0xFFFF_FFFF else b""
        if marker != 0 or not body:
            return None
        try:
            end = body.index(b"\0", 1)
            augmentation = body[1:end]
            i = end + 1
            _, i = _uleb(body, i)  # code alignment
            _, i = _uleb(body, i)  # data alignment (a signed number of the same length)
            i += 1  # return address register
            encoding = 0x00
            if augmentation.startswith(b"z"):
                _, i = _uleb(body, i)
                for letter in augmentation[1:]:
                    if letter == ord("R"):
                        encoding = body[i]
                        i += 1
                    elif letter == ord("P"):
                        i += 1 + _SIZES[body[i] & 0x0F]
                    elif letter == ord("L"):
                        i += 1
            # The usual CIE: def_cfa rsp+8; offset rip. A FDE on top of another one is not judged by its first row.
            plain = body[i : i + 3] == bytes((0x0C, _RSP, 8))
            return _Cie(encoding, augmentation.startswith(b"z"), plain)
        except (ValueError, KeyError, IndexError):
            return None


@dataclass(frozen=True, slots=True)
class _Cie:
    encoding: int
    augmented: bool
    plain: bool


def _first_row_is_plain(program: bytes) -> bool:
    """Whether the call-frame program changes nothing before its first advance of the location."""
    if not program:
        return True
    first = program[0]
    return first == 0 or first & 0xC0 == 0x40 or first in (0x01, 0x02, 0x03, 0x04, 0x0A, 0x2E)


def _pointer(raw: bytes, at: int, position: int, encoding: int) -> int:
    """A DW_EH_PE value; `position` is the address of `raw`, for pc-relative ones."""
    formats = {0x00: "<Q", 0x02: "<H", 0x03: "<I", 0x04: "<Q", 0x0A: "<h", 0x0B: "<i", 0x0C: "<q"}
    (value,) = struct.unpack_from(formats[encoding & 0x0F], raw, at)
    return int(value) + (position + at if encoding & 0x70 == 0x10 else 0)


def _uleb(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
