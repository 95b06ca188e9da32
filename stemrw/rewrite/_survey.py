"""Which of all functions of a file can be patched, in one look at its text.

The answer for one function is what `find_entries` says; asked 200,000 times it would search the whole text as often.
Here the 32-bit branches are listed in one pass, and what takes decoding is only done where a pattern of bytes, which is
cheap to search for and never misses, says that there is something to decode:

    8-bit branches     70-7F, EB, E0-E3 within reach of the entry, with a displacement that leads there
    switches           FF /4 in the function
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from stemrw.elf import Elf
from stemrw.errors import BinaryError
from stemrw.rewrite._entry import Target, find_entries
from stemrw.rewrite._surroundings import SHORT_REACH, Surroundings

_SHORT_BRANCH = re.compile(rb"[\x70-\x7f\xeb\xe0-\xe3]")
_TRANSACTION = b"\xc7\xf8"  # xbegin, the one other instruction that leads to a place
_INDIRECT_JUMP = re.compile(rb"\xff[\x20-\x27\x60-\x67\xa0-\xa7\xe0-\xe7]")


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
        self.expect_many()

    def switch_arrival(self, function: int, size: int, places: range) -> str | None:
        _, body = self._read(function, range(function, function + size))
        return super().switch_arrival(function, size, places) if _INDIRECT_JUMP.search(body) else None

    def _short_branches(self, places: range) -> Iterator[tuple[int, int]]:
        low, window = self._read(places.start, range(places.start - SHORT_REACH - 1, places.stop + SHORT_REACH))
        near = next(self._near_branches(places), None)
        if near or _TRANSACTION in window or _has_short_branch(window, low, places):
            yield from super()._short_branches(places)

    def _read(self, place: int, wanted: range) -> tuple[int, bytes]:
        """What the segment that holds `place` holds of the wanted addresses, and the first of these."""
        segment = next((segment for segment in self._elf.code_segments if segment.has_bytes(place)), None)
        if segment is None:
            return place, b""
        low = max(wanted.start, segment.address)
        return low, self._elf.read(low, wanted.stop - low)


def _has_short_branch(code: bytes, address: int, places: range) -> bool:
    """Whether any bytes of `code`, which stands at `address`, could be an 8-bit branch into `places`."""
    low, high = places.start - address - 2, places.stop - address - 2
    for match in _SHORT_BRANCH.finditer(code, 0, len(code) - 1):
        at = match.start()
        distance = code[at + 1]
        if low <= at + (distance - 256 if distance > 127 else distance) < high:
            return True
    return False
