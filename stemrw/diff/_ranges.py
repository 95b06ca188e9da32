"""Where two byte strings differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_BLOCKS = (1 << 16, 256)
"""Equal stretches are passed over in blocks of these sizes."""


def differing(a: memoryview, b: memoryview) -> Iterator[range]:
    """The maximal ranges of offsets at which they differ, as far as both reach.  Every byte is compared."""
    begin: int | None = None
    for at, stop in _unequal(a, b, range(min(len(a), len(b))), _BLOCKS):
        for i in range(at, stop):
            if a[i] == b[i]:
                if begin is not None:
                    yield range(begin, i)
                begin = None
            elif begin is None:
                begin = i
        if begin is not None and (stop >= min(len(a), len(b)) or a[stop] == b[stop]):
            yield range(begin, stop)
            begin = None


def _unequal(a: memoryview, b: memoryview, within: range, sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """The small blocks that are not equal."""
    for start in range(within.start, within.stop, sizes[0]):
        stop = min(start + sizes[0], within.stop)
        if a[start:stop] != b[start:stop]:
            if len(sizes) > 1:
                yield from _unequal(a, b, range(start, stop), sizes[1:])
            else:
                yield start, stop


def outside(ranges: Iterable[range], known: Iterable[range]) -> Iterator[range]:
    """The parts of `ranges` that no `known` range covers; both ascend and are disjoint."""
    covers = list(known)
    for each in ranges:
        at = each.start
        for cover in covers:
            if cover.stop > at and cover.start < each.stop:
                if cover.start > at:
                    yield range(at, cover.start)
                at = cover.stop
        if at < each.stop:
            yield range(at, each.stop)
