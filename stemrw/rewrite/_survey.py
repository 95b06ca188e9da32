"""Which of all functions of a file can be patched, in one look at its text.

The answer for one function is what `find_entries` says; asked 200,000 times it would search the whole text as often.
Here everything that could lead into the first bytes of any function is noted in one pass, by patterns of bytes that are
cheap to search for and never miss: only where they hit is the code there looked at as `find_entries` does it.

    32-bit branches    every E8, E9 and 0F 8x, with its target, in one pass over the text
    8-bit branches     70-7F, EB, E0-E3 within reach of the entry, with a displacement that leads there
    switches           FF /4 in the function
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from stemrw.elf import Elf, Segment
from stemrw.errors import BinaryError
from stemrw.rewrite._entry import Target, find_entries
from stemrw.rewrite._surroundings import SHORT_REACH, Surroundings

_NEAR_BRANCH = re.compile(rb"[\xe8\xe9]|\x0f[\x80-\x8f]")
_SHORT_BRANCH = re.compile(rb"[\x70-\x7f\xeb\xe0-\xe3]")
_TRANSACTION = b"\xc7\xf8"  # xbegin, the one other instruction that leads to a place
_INDIRECT_JUMP = re.compile(rb"\xff[\x20-\x27\x60-\x67\xa0-\xa7\xe0-\xe7]")
_AROUND_ENTRY = 32
"""Bytes on both sides of an entry of which branches are noted: as many as are ever replaced, and most padding."""
_LARGEST_TEXT = 1 << 31
_DISPLACEMENT = struct.Struct("<i")


def survey(
    elf: Elf, targets: Sequence[Target], step: Callable[[int], None] = lambda _: None
) -> Iterator[BinaryError | None]:
    """For each function why its entry cannot be patched alone, or None if it can; what `rewrite` would say.

    `step` is called with the number of functions done, now and then.
    """
    around = _SweptSurroundings(elf, targets)
    for i, target in enumerate(targets):
        if i % 1024 == 0:
            step(i)
        try:
            find_entries(elf, [target], around)
            yield None
        except BinaryError as error:
            yield error


class _SweptSurroundings(Surroundings):
    """Surroundings of the entries of many functions: the same answers, prepared in one pass."""

    def __init__(self, elf: Elf, targets: Iterable[Target]) -> None:
        super().__init__(elf, [target.address for target in targets])

    def switch_arrival(self, function: int, size: int, places: range) -> str | None:
        if _INDIRECT_JUMP.search(self._bytes(function, function + size)) is None:
            return None
        return super().switch_arrival(function, size, places)

    def _short_branches(self, places: range) -> Iterator[tuple[int, int]]:
        low = max(places.start - SHORT_REACH - 1, self._text.start)
        window = self._bytes(low, places.stop + SHORT_REACH)
        near = self._noted(places)
        if near is None or near or _TRANSACTION in window or _has_short_branch(window, low, places):
            yield from super()._short_branches(places)

    def _near_branches(self, places: range) -> Iterator[tuple[int, int]]:
        noted = self._noted(places)
        yield from super()._near_branches(places) if noted is None else noted

    def _noted(self, places: range) -> list[tuple[int, int]] | None:
        """Source and target of all 32-bit branches into `places`; None: these places were not noted."""
        if self._marks.find(0, places.start - self._text.start, places.stop - self._text.start) >= 0:
            return None
        low = bisect_left(self._arriving, (places.start, 0))
        high = bisect_left(self._arriving, (places.stop, 0))
        return sorted((source, target) for target, source in self._arriving[low:high])

    def _bytes(self, start: int, stop: int) -> bytes:
        """What the file holds for addresses of the text, from a segment's content that was read once."""
        for segment, content in self._contents:
            if segment.has_bytes(start):
                return content[start - segment.address : stop - segment.address]
        return b""

    @cached_property
    def _contents(self) -> list[tuple[Segment, bytes]]:
        return [(each, self._elf.read(each.address, each.file_size)) for each in self._elf.code_segments]

    @cached_property
    def _text(self) -> range:
        """The addresses from the first to the last code segment."""
        segments = self._elf.code_segments
        return range(segments[0].address, segments[-1].end)

    @cached_property
    def _marks(self) -> bytearray:
        """For every address of the text whether branches to it are noted.

        Those to entries are not: where an entry lies in the places that are asked for, that alone is an obstacle.
        """
        if len(self._text) > _LARGEST_TEXT:
            raise BinaryError(f"its code spans {len(self._text):#x} bytes: that is too far for a survey")
        marks = bytearray(len(self._text))
        places = [start - self._text.start for start in self._starts if start in self._text]
        for place in places:
            low, high = max(place - _AROUND_ENTRY, 0), min(place + _AROUND_ENTRY, len(marks))
            marks[low:high] = b"\1" * (high - low)
        for place in places:
            marks[place] = 0
        return marks

    @cached_property
    def _arriving(self) -> list[tuple[int, int]]:
        """(target, source) of all that could be a 32-bit branch to a marked address, by target."""
        found: list[tuple[int, int]] = []
        marks, first, size, displacement = self._marks, self._text.start, len(self._text), _DISPLACEMENT.unpack_from
        for segment, code in self._contents:
            base = segment.address - first
            for match in _NEAR_BRANCH.finditer(code, 0, len(code) - 4):
                at = match.end()
                target = base + at + 4 + displacement(code, at)[0]
                if 0 <= target < size and marks[target]:
                    found.append((target + first, match.start() + segment.address))
        return sorted(found)


def _has_short_branch(code: bytes, address: int, places: range) -> bool:
    """Whether any bytes of `code`, which stands at `address`, could be an 8-bit branch into `places`."""
    low, high = places.start - address - 2, places.stop - address - 2
    for match in _SHORT_BRANCH.finditer(code, 0, len(code) - 1):
        at = match.start()
        distance = code[at + 1]
        if low <= at + (distance - 256 if distance > 127 else distance) < high:
            return True
    return False
