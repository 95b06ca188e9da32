"""What a stopped process has in memory, and how two such pictures differ."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
_ZEROS = bytes(PAGE)
_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) (\S+) (\d+) *(.*)")
_NOT_ZERO = re.compile(rb"[^\0]", re.DOTALL)
_PRESENT_OR_SWAPPED = 3 << 62


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps."""

    start: int
    end: int
    rights: str
    inode: int
    name: str


def mappings(pid: int) -> list[Mapping]:
    """All mappings, by address."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").splitlines():
        start, end, rights, _, _, inode, name = _LINE.fullmatch(line).groups()  # type: ignore[union-attr]
        found.append(Mapping(int(start, 16), int(end, 16), rights, int(inode), name))
    return found


class Ranges:
    """A set of addresses, as half-open ranges."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = []
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._ranges)

    def __contains__(self, address: int) -> bool:
        return any(start <= address < end for start, end in self._ranges)

    def add(self, start: int, end: int) -> None:
        """Join a range to the set."""
        self.remove(start, end)
        if start < end:
            self._ranges.append((start, end))

    def touches(self, start: int, end: int) -> bool:
        """Whether a range has addresses of the set."""
        return any(known_start < end and start < known_end for known_start, known_end in self._ranges)

    def append(self, start: int, end: int) -> None:
        """Join a range that is known to lie behind all others."""
        if self._ranges and self._ranges[-1][1] == start:
            self._ranges[-1] = (self._ranges[-1][0], end)
        else:
            self._ranges.append((start, end))

    def remove(self, start: int, end: int) -> None:
        """Take a range out of the set."""
        kept = []
        for known_start, known_end in self._ranges:
            for left, right in ((known_start, min(known_end, start)), (max(known_start, end), known_end)):
                if left < right:
                    kept.append((left, right))
        self._ranges = kept

    def without(self, other: Ranges) -> Ranges:
        """What of this set is not in the other."""
        rest = Ranges(self)
        for start, end in other:
            rest.remove(start, end)
        return rest


@dataclass(frozen=True)
class Snapshot:
    """All mappings with their rights, and the contents of the writable ones.

    Pages that were never touched are absent; they hold zeros.
    """

    mappings: tuple[Mapping, ...]
    pages: dict[int, bytes]
    own: Ranges
    """What lies in these mappings and is the runtime's, not the program's."""

    def named(self, address: int) -> str:
        """What is mapped at an address."""
        for mapping in self.mappings:
            if mapping.start <= address < mapping.end:
                return mapping.name or "anonymous memory"
        return "unmapped memory"


def snapshot(pid: int, own: Ranges) -> Snapshot:
    """The memory of a stopped process, pages that lie wholly in `own` aside."""
    known = tuple(mappings(pid))
    pages: dict[int, bytes] = {}
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    try:
        for mapping in known:
            if mapping.rights[1] != "w":
                continue
            for start, end in Ranges([(mapping.start, mapping.end)]).without(own):
                first, last = start & -PAGE, (end + PAGE - 1) & -PAGE
                for run_start, run_end in _touched(pagemap, first, last, bool(mapping.inode)):
                    data = os.pread(memory, run_end - run_start, run_start)
                    for at in range(0, len(data), PAGE):
                        pages[run_start + at] = data[at : at + PAGE]
    finally:
        os.close(memory)
        os.close(pagemap)
    return Snapshot(known, pages, own)


def _touched(pagemap: int, start: int, end: int, of_file: bool) -> Iterator[tuple[int, int]]:
    """Runs of pages that may hold something else than zeros, in pieces that can be read at once."""
    largest = 64 << 20
    for piece in range(start, end, largest):
        stop = min(piece + largest, end)
        if of_file:
            yield piece, stop
            continue
        entries = os.pread(pagemap, (stop - piece) // PAGE * 8, piece // PAGE * 8)
        run = None
        for i, (entry,) in enumerate(struct.iter_unpack("<Q", entries)):
            if entry & _PRESENT_OR_SWAPPED:
                run = piece + i * PAGE if run is None else run
            elif run is not None:
                yield run, piece + i * PAGE
                run = None
        if run is not None:
            yield run, stop


def differences(before: Snapshot, after: Snapshot) -> Iterator[tuple[int, int, int]]:
    """Address, old and new value of each byte that differs, the runtime's aside."""
    for page, old, new in _different_pages(before, after):
        mixed = any(own.touches(page, page + PAGE) for own in (before.own, after.own))
        for found in _NOT_ZERO.finditer(_xor(old, new)):
            address = page + found.start()
            if not mixed or (address not in before.own and address not in after.own):
                yield address, old[found.start()], new[found.start()]


def count_differences(before: Snapshot, after: Snapshot, without: Ranges) -> int:
    """How many bytes differ, on pages that are neither the runtime's nor in `without`."""
    return sum(
        PAGE - _xor(old, new).count(0)
        for page, old, new in _different_pages(before, after)
        if not any(ranges.touches(page, page + PAGE) for ranges in (before.own, after.own, without))
    )


def _different_pages(before: Snapshot, after: Snapshot) -> Iterator[tuple[int, bytes, bytes]]:
    for page in sorted(before.pages.keys() | after.pages.keys()):
        old, new = before.pages.get(page, _ZEROS), after.pages.get(page, _ZEROS)
        if old != new:
            yield page, old, new


def _xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(PAGE, "little")
