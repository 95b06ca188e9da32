"""Which function a range of code belongs to: itself, or the one that it was split off (`.cold` parts)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stemrw.image._code import Instruction
from stemrw.image._function import Function, Owner

if TYPE_CHECKING:
    from stemrw.image._image import Image

_DEPTH = 3
"""Parts that are followed into each other."""


class Owners:
    """The answers for the ranges of one image."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def find(self, part: Function) -> Owner:
        """The function that a range with its own unwind entry belongs to, and how that was found."""
        return self._find_owner(part, _DEPTH)

    def _find_owner(self, part: Function, depth: int) -> Owner:
        named = self._image.main
        if named is not None and named.entry == part.entry:
            return Owner(named, (f"covered by {part.source} [{part.entry:#x}, {part.end:#x}), the program's main",))
        covered = f"covered by {part.source} [{part.entry:#x}, {part.end:#x})"
        if depth == 0 or (not part.fragment and self._is_entered(part)):
            return Owner(part, (covered,))
        inside, called = self._entries(part)
        if not part.fragment and (called or not any(self._half_way(part, inside))):
            return Owner(part, (covered,))
        by_name = self._named_parent(part)
        parents = [by_name] if by_name else _by_frequency([f for _, _, f in inside])
        for parent in parents:
            sites = [s for s, _, f in inside if f.entry == parent.entry]
            above = self._find_owner(parent, depth - 1)
            how = f"only jumped to, from {_some(sites)}" if sites else f"by its name {part.symbol}"
            split_off = f"a part split off ({how}): belongs to {above.function}"
            return Owner(above.function, (covered, split_off, *above.evidence[1:]))
        return Owner(part, (covered, "looks like a part split off another function, but nothing jumps to it"))

    def _named_parent(self, part: Function) -> Function | None:
        if part.symbol is None or ".cold" not in part.symbol:
            return None
        parents = self._image.functions_named(part.symbol.partition(".cold")[0])
        return parents[0] if len(parents) == 1 else None  # static functions of several files may share a name

    @staticmethod
    def _half_way(part: Function, inside: list[tuple[Instruction, int, Function]]) -> Iterator[bool]:
        """Entries that no function has: by a conditional jump, or behind its first instruction."""
        for site, target, _ in inside:
            yield target != part.entry or not site.is_unconditional

    def _is_entered(self, part: Function) -> bool:
        """Cheap signs that a part is a function of its own: a name, its address in a table, a call of its entry."""
        if self._image.pointers.holds(part.entry) or (part.symbol is not None and ".cold" not in part.symbol):
            return True
        return any(site.is_call and target == part.entry for site, target, _ in self._image.references(part))

    def _entries(self, part: Function) -> tuple[list[tuple[Instruction, int, Function]], bool]:
        """Jumps into a part, as (site, target, function of the site); and whether its entry is called."""
        inside, called = [], False
        for site, target, function in self._image.references(part):
            if function.entry == part.entry:
                called |= site.is_call and target == part.entry
            elif site.is_call:
                called = True
            else:
                inside.append((site, target, function))
        return inside, called


def _by_frequency(functions: list[Function]) -> list[Function]:
    count: dict[int, int] = {}
    for function in functions:
        count[function.entry] = count.get(function.entry, 0) + 1
    unique = {f.entry: f for f in functions}
    return sorted(unique.values(), key=lambda f: (-count[f.entry], f.entry))


def _some(sites: list[Instruction]) -> str:
    shown = ", ".join(f"{s.address:#x}" for s in sites[:3])
    return shown + (f" and {len(sites) - 3} more" if len(sites) > 3 else "")
