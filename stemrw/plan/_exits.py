"""What a function returns where: constants on its exits, and which of them lie before the point that it had reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from stemrw.image import Function
from stemrw.plan._consequence import End, onwards
from stemrw.plan._flow import Use, follow
from stemrw.plan._operands import CALLEE_SAVED, constant_set, operands
from stemrw.plan._reading import Code, Reading

_MAXIMUM_PLACES = 400


@dataclass(frozen=True, slots=True)
class Place:
    """Where a register gets a constant: the instruction, where that leads, the register."""

    at: int
    behind: int
    register: str


Constants = dict[int, list[Place]]
"""Constants that reach a return in the result register, with the places that they come from."""


def returned_constants(reading: Reading, function: Function) -> Constants:
    """What a function returns that does not depend on its work."""
    read = reading.code(function)
    found: Constants = {}
    for value, place in islice(_constants(reading, function), _MAXIMUM_PLACES):
        if _returned(read, place):
            found.setdefault(value, []).append(place)
    return found


def _constants(reading: Reading, function: Function) -> Iterator[tuple[int, Place]]:
    """By a move, or because a test has found the register to be zero."""
    tested = ""
    for instruction in reading.image.whole_body(function):
        constant = constant_set(instruction)
        if constant is not None:
            yield constant[1], Place(instruction.address, instruction.end, constant[0])
        if tested and instruction.mnemonic in ("je", "jne") and instruction.target is not None:
            ahead = instruction.target if instruction.mnemonic == "je" else instruction.end
            yield 0, Place(instruction.address, ahead, tested)
        ops = operands(instruction)
        same = instruction.mnemonic == "test" and ops.parts[0] == ops.parts[-1] and len(ops.read) == 1
        tested = next(iter(ops.read)) if same and ops.parts[0].startswith(("r", "e")) else ""


def _returned(read: Code, place: Place) -> bool:
    """Whether a value is returned on some way, soon unless the register outlives calls, and nothing else becomes of it.

    A value that is overwritten on other ways, or lost in a call that never returns, is nonetheless returned on this.
    """
    lasting = place.register in CALLEE_SAVED
    seen = follow(read, place.behind, place.register, budget=60 if lasting else 20, branches=3 if lasting else 2)
    ends = (Use.RETURNED, Use.LOST, Use.DROPPED)
    return any(u.use is Use.RETURNED for u in seen) and all(u.use in ends for u in seen)


@dataclass(frozen=True, slots=True)
class Exits:
    """Constants that a function returns early, before its work is done, and those that it returns at the end.

    `alone`: from the point that it had reached it returns one of the late ones, and nothing else.
    """

    early: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()
    alone: bool = False


def exits(reading: Reading, function: Function, constants: Constants, inside: int | None) -> Exits:
    """Tell early exits from late ones. `inside` is the point that the function had reached, None if it is not known.

    Early is what is returned on no way from there on. Where the point says nothing, as that of a check at the very end,
    early is what takes the fewest calls to come to from the entry.
    """
    body = reading.image.whole_body(function)
    if inside is None or any(i.end == inside and i.is_call and reading.leaving(i) for i in body):
        return _by_distance(reading, function, constants)  # behind a call that never returns is other code
    read = reading.code(function)
    ahead = reading.calls_before(function, inside)
    endings = onwards(reading, function, inside)
    returned = [e.value for e in endings if e.end is End.RETURNED]
    late = {value for value in returned if value is not None}
    for value, places in constants.items():
        if any(p.at in ahead or not _returned(lambda a: read(a) if a != inside else None, p) for p in places):
            late.add(value)
    if not late:
        return _by_distance(reading, function, constants)
    gone = all(e.end in (End.RETURNED, End.STOPPED, End.JUMPED) for e in endings)
    return Exits(frozenset(constants) - late, frozenset(late), alone=gone and None not in returned)


def _by_distance(reading: Reading, function: Function, constants: Constants) -> Exits:
    calls = reading.calls_before(function, function.entry)
    nearest = {v: min((calls[p.at] for p in places if p.at in calls), default=-1) for v, places in constants.items()}
    if len(nearest) < 2 or min(nearest.values()) < 0:
        return Exits()
    least = min(nearest.values())
    early = frozenset(value for value, count in nearest.items() if count == least)
    return Exits(early, frozenset(constants) - early)
