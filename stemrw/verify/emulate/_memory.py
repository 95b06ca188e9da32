"""The address space of one emulated process: what is mapped where, as the program and /proc/self/maps see it."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, replace

from unicorn import UC_PROT_NONE, Uc

from stemrw.elf import align
from stemrw.elf.constants import PAGE

READ, WRITE, EXECUTE = 1, 2, 4
"""Rights, as mmap and Unicorn number them."""

_RUNTIME_AREA = 0x7A00_0000_0000
"""Where mappings go that nobody wanted anywhere else."""


@dataclass(frozen=True, order=True)
class Mapping:
    """A range of pages with the same rights; `path` is empty for anonymous memory."""

    start: int
    end: int
    rights: int
    path: str = ""
    offset: int = 0

    def line(self) -> str:
        """As in /proc/self/maps."""
        letters = "".join(c if self.rights & bit else "-" for c, bit in (("r", READ), ("w", WRITE), ("x", EXECUTE)))
        inode = sum(self.path.encode()) + 1 if self.path else 0
        return f"{self.start:x}-{self.end:x} {letters}p {self.offset:08x} 08:01 {inode:<10} {self.path}\n"


class Memory:
    """Mappings of one Unicorn instance.  Inaccessible ranges are only remembered: nothing is allocated for them."""

    def __init__(self, unicorn: Uc) -> None:
        self._unicorn = unicorn
        self._mappings: list[Mapping] = []

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self._mappings)

    def at(self, address: int) -> Mapping | None:
        """The mapping that holds an address."""
        i = bisect_right(self._mappings, address, key=lambda mapping: mapping.start) - 1
        found = self._mappings[i] if i >= 0 else None
        return found if found is not None and address < found.end else None

    def overlapping(self, start: int, end: int) -> list[Mapping]:
        return [mapping for mapping in self._mappings if mapping.start < end and start < mapping.end]

    def map(self, start: int, size: int, rights: int, path: str = "", offset: int = 0) -> None:
        """Map whole pages that are free; raises ValueError where they are not."""
        end = start + align(size, PAGE)
        if self.overlapping(start, end):
            raise ValueError(f"{start:#x} is mapped already")
        if rights != UC_PROT_NONE:
            self._unicorn.mem_map(start, end - start, rights)
        insort(self._mappings, Mapping(start, end, rights, path, offset))

    def free_range(self, size: int) -> int:
        """A page-aligned start where `size` bytes are free."""
        start = _RUNTIME_AREA
        for mapping in self._mappings:
            if mapping.end > start and mapping.start < start + size:
                start = mapping.end
        return start

    def protect(self, start: int, size: int, rights: int) -> bool:
        """Change rights; False where a page is not mapped."""
        end = start + align(size, PAGE)
        touched = self.overlapping(start, end)
        if sum(min(mapping.end, end) - max(mapping.start, start) for mapping in touched) != end - start:
            return False
        for mapping in touched:
            inside = self._cut(mapping, start, end)
            if mapping.rights == rights:
                continue
            if mapping.rights == UC_PROT_NONE:
                self._unicorn.mem_map(inside.start, inside.end - inside.start, rights)
            else:  # what became inaccessible keeps its contents
                self._unicorn.mem_protect(inside.start, inside.end - inside.start, rights)
            self._replace(inside, replace(inside, rights=rights))
        return True

    def unmap(self, start: int, size: int) -> None:
        end = start + align(size, PAGE)
        for mapping in self.overlapping(start, end):
            inside = self._cut(mapping, start, end)
            if inside.rights != UC_PROT_NONE:
                self._unicorn.mem_unmap(inside.start, inside.end - inside.start)
            self._mappings.remove(inside)

    def _cut(self, mapping: Mapping, start: int, end: int) -> Mapping:
        """Split a mapping at both ends of a range; gives the part inside."""
        inside = replace(
            mapping,
            start=max(mapping.start, start),
            end=min(mapping.end, end),
            offset=mapping.offset + max(mapping.start, start) - mapping.start,
        )
        self._mappings.remove(mapping)
        if mapping.start < inside.start:
            insort(self._mappings, replace(mapping, end=inside.start))
        if inside.end < mapping.end:
            insort(self._mappings, replace(mapping, start=inside.end, offset=inside.offset + inside.end - inside.start))
        insort(self._mappings, inside)
        return inside

    def _replace(self, old: Mapping, new: Mapping) -> None:
        self._mappings[self._mappings.index(old)] = new
