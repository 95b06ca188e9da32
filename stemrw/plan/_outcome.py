"""What comes of an error value in the chain of active callers: consequences, followed from one caller to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stemrw.plan._calls import Site
from stemrw.plan._consequence import End, Ending, consequences
from stemrw.plan._reading import Reading

_DEPTH = 5
"""Callers through which a returned value is followed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All endings of one value; `near` are those in the active caller, `far` where its own returns are followed."""

    near: tuple[Ending, ...]
    far: tuple[Ending, ...]

    def bad(self, end: End) -> Ending | None:
        """The first way that ends so, near or far."""
        return next((e for e in (*self.near, *self.far) if e.end is end), None)

    def share(self, *ends: End) -> float:
        """The share of ways that end so, 0 to 1."""
        return sum(e.end in ends for e in self.far) / len(self.far) if self.far else 0.0

    @property
    def tested(self) -> Ending | None:
        """The first way on which the caller's test of the value decides."""
        return next((e for e in self.near if e.test is not None), None)

    @property
    def reported(self) -> str | None:
        """How an error is reported, if it is on at least half of the ways in the active caller."""
        found = [e.reports for e in self.near if e.reports is not None]
        return found[0] if found and 2 * len(found) >= len(self.near) else None

    @property
    def likeness(self) -> float:
        """How much this looks like error handling: 0 not at all, 6 in every respect."""
        return sum(map(_likeness, self.near)) / len(self.near) if self.near else 0.0


def outcome(reading: Reading, sites: Sequence[Site], value: int) -> Outcome:
    """Follow a value that the active call returns."""
    near = tuple(consequences(reading, sites[0].caller, sites[0].behind, value)) if sites else ()
    return Outcome(near, tuple(_far(reading, sites, near, _DEPTH)))


def _far(reading: Reading, sites: Sequence[Site], near: Sequence[Ending], depth: int) -> list[Ending]:
    found: list[Ending] = []
    followed: set[int] = set()
    main = reading.image.main
    in_main = bool(sites) and main is not None and sites[0].caller.entry == main.entry
    for ending in near:
        if ending.end is End.RETURNED and in_main:
            found.append(replace(ending, end=End.STOPPED))
        elif ending.end is not End.RETURNED or ending.value is None or len(sites) < 2 or depth == 0:
            found.append(ending)
        elif ending.value not in followed:
            followed.add(ending.value)
            onwards = consequences(reading, sites[1].caller, sites[1].behind, ending.value)
            if not ending.own:  # what the caller makes of it is its own affair: it knows what it returns
                onwards = [e for e in onwards if e.end not in (End.DEREFERENCED, End.INDEXED)]
            if ending.stale:
                onwards = [replace(e, errno=None) for e in onwards]
            found += _far(reading, sites[1:], onwards, depth - 1)
    return found


def _likeness(ending: Ending) -> float:
    points = 0.0
    if ending.reports is not None:
        points += 3
    if ending.end in (End.STOPPED, End.JUMPED):
        points += 2
    if ending.end is End.RETURNED and ending.short and ending.value is not None:
        points += 2 if not ending.own else 1
    if ending.end is End.LOOPED and ending.short:
        points += 1
    return points + (0.5 if ending.frees and ending.short else 0)
