"""All flaws, by kind of weakness."""

from __future__ import annotations

from cwe.flaws import bounds, heap, lifetime, never_ending, nothing, numbers, stack
from cwe.model import Flaw

FLAWS: tuple[Flaw, ...] = (
    *stack.FLAWS,
    *heap.FLAWS,
    *bounds.FLAWS,
    *numbers.FLAWS,
    *never_ending.FLAWS,
    *lifetime.FLAWS,
    *nothing.FLAWS,
)
"""Every flaw, in no particular order."""
