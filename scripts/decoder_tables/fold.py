"""Many observations to few classes, and the decision trees that lead to them.

A *class* is everything that the decoder knows about an instruction beforehand.  A class may cover many points: values
may be functions of (operand size, mode) or of the vector length, and bit masks say for which prefixes, sizes, modes,
forms and vector lengths it is valid at all.  Where that is not enough, a *node* of a tree chooses by one axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .encodings import REGISTER, Point
from .observe import Observation

AXES = ("pp", "osz", "mode", "form", "reg", "rm", "length", "rex_b")
"""Order of the selectors in the decoder (enum axis in C)."""
WIDTHS = {"pp": 4, "osz": 3, "mode": 2, "form": 2, "reg": 8, "rm": 8, "length": 4, "rex_b": 2}
POSITIONS = {axis: i for i, axis in enumerate(AXES)}
MASKED_AXES = ("form", "pp", "osz", "mode", "length")
"""Axes with a validity mask in every class, in the order of their bits."""

_OSZ, _MODE, _LENGTH = POSITIONS["osz"], POSITIONS["mode"], POSITIONS["length"]

Function = tuple[int | None, ...]
"""Values by osz + 3 * mode (six entries), or by vector length (in the first three)."""


class Sample(NamedTuple):
    """A point's values on AXES, and what was observed there (None: invalid)."""

    place: tuple[int, ...]
    observation: Observation | None

    @classmethod
    def at(cls, point: Point, observation: Observation | None) -> Sample:
        return cls(tuple(getattr(point, axis) for axis in AXES), observation)


@dataclass
class Class:
    """Compatible observations, unified."""

    exact: dict[str, int | None]
    by_size: dict[str, Function]
    by_length: dict[str, Function]
    masks: dict[str, int]

    def absorb(self, other: Class) -> bool:
        """Widen self to cover `other` as well, if nothing contradicts."""
        if self.masks != other.masks:
            return False
        exact = _unify_maps(self.exact, other.exact)
        if exact is None:
            return False
        if set(self.by_size) != set(other.by_size) or set(self.by_length) != set(other.by_length):
            return False
        sizes = {name: unify(self.by_size[name], other.by_size[name]) for name in self.by_size}
        lengths = {name: unify(self.by_length[name], other.by_length[name]) for name in self.by_length}
        if None in sizes.values() or None in lengths.values():
            return False
        self.exact = exact
        self.by_size = {name: value for name, value in sizes.items() if value is not None}
        self.by_length = {name: value for name, value in lengths.items() if value is not None}
        return True


@dataclass
class Node:
    """A choice by one axis."""

    axis: str
    children: list[Node | Class | None] = field(default_factory=list)


Tree = Node | Class | None


def unify(one: Function, other: Function) -> Function | None:
    """The function that agrees with both where they are defined; None if they contradict."""
    merged: list[int | None] = []
    for a, b in zip(one, other, strict=True):
        if a is not None and b is not None and a != b:
            return None
        merged.append(b if a is None else a)
    return tuple(merged)


def _unify_maps(one: dict[str, int | None], other: dict[str, int | None]) -> dict[str, int | None] | None:
    merged = dict(one)
    for name, value in other.items():
        known = merged.get(name)
        if known is not None and value is not None and known != value:
            return None
        merged[name] = value if known is None else known
    return merged


def _masks(samples: list[Sample], split: frozenset[str]) -> dict[str, int] | None:
    """Validity masks such that exactly the valid samples pass; None if no such product exists."""
    masks = {}
    for axis in MASKED_AXES:
        position = POSITIONS[axis]
        present = {sample.place[position] for sample in samples}
        allowed = {sample.place[position] for sample in samples if sample.observation is not None}
        full = set(range(WIDTHS[axis]))
        keep = full if axis in split else allowed | (full - present)
        masks[axis] = sum(1 << value for value in keep)
    tests = [(POSITIONS[axis], masks[axis]) for axis in MASKED_AXES]
    for place, observation in samples:
        if observation is None and all(mask >> place[position] & 1 for position, mask in tests):
            return None
    return masks


def _gather(samples: list[Sample], name: str, kind: str, by_length: bool) -> Function | None:
    """The samples' values as one function; None if they contradict."""
    table: list[int | None] = [None] * 6
    for sample in samples:
        assert sample.observation is not None
        values = sample.observation.by_size if kind == "size" else sample.observation.by_either
        if name not in values:
            continue
        place = sample.place
        index = min(place[_LENGTH], 2) if by_length else place[_OSZ] + 3 * place[_MODE]
        if table[index] is not None and table[index] != values[name]:
            return None
        table[index] = values[name]
    return tuple(table)


def leaf(samples: list[Sample], split: frozenset[str]) -> Class | None:
    """One class for all samples, or None if they need a choice between them."""
    masks = _masks(samples, split)
    if masks is None:
        return None
    # Observations are shared by points that differ in registers only: look at each once per size and length.
    distinct = {
        (id(sample.observation), sample.place[_OSZ], sample.place[_MODE], sample.place[_LENGTH]): sample
        for sample in samples
        if sample.observation is not None
    }
    valid = list(distinct.values())
    exact: dict[str, int | None] = {}
    for sample in valid:
        assert sample.observation is not None
        merged = _unify_maps(exact, sample.observation.exact)
        if merged is None:
            return None
        exact = merged
    found = Class(exact, {}, {}, masks)
    for name in ("immediate_size", "stack_bytes", "broadcast_size"):
        function = _gather(valid, name, "size", by_length=False)
        if function is None:
            return None
        found.by_size[name] = function
    for name in ("size", "displacement_scale"):
        function = _gather(valid, name, "either", by_length=False)
        if function is not None:
            found.by_size[name] = function
            continue
        function = _gather(valid, name, "either", by_length=True)
        if function is None:
            return None
        found.by_length[name] = function
    return found


def grow(samples: list[Sample], split: frozenset[str] = frozenset()) -> Tree:
    """The decision tree for `samples`."""
    if all(sample.observation is None for sample in samples):
        return None
    found = leaf(samples, split)
    if found is not None:
        return found
    axis = _best_axis(samples, split)
    parts = _partition(samples, axis)
    return Node(axis, [grow(part, split | {axis}) if part else None for part in parts])


def _partition(samples: list[Sample], axis: str) -> list[list[Sample]]:
    parts: list[list[Sample]] = [[] for _ in range(WIDTHS[axis])]
    for sample in samples:
        parts[sample.place[POSITIONS[axis]]].append(sample)
    return parts


def _best_axis(samples: list[Sample], split: frozenset[str]) -> str:
    """The axis after which the fewest parts need a further choice; then the one with the fewest children."""
    best: tuple[float, int, str] | None = None
    for axis in AXES:
        if axis in split or len({sample.place[POSITIONS[axis]] for sample in samples}) < 2:
            continue
        if axis == "rm" and any(sample.place[POSITIONS["form"]] != REGISTER for sample in samples):
            continue
        below = split | {axis}
        parts = [part for part in _partition(samples, axis) if part]
        open_samples = sum(
            len(part)
            for part in parts
            if any(sample.observation is not None for sample in part) and leaf(part, below) is None
        )
        cost = (open_samples / len(samples), WIDTHS[axis], axis)
        if best is None or cost < best:
            best = cost
    assert best is not None, samples[0]
    return best[2]
