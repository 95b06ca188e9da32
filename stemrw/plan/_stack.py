"""Which faults ask for the rule `stack`: those that overwrite what control returns to, or look as if."""

from __future__ import annotations

from stemrw.documents.localization import Localization
from stemrw.documents.rules import AnyRule, Stack
from stemrw.plan._guard import Guard

_CLASSES = frozenset({"stack-smash", "return-address", "control-flow", "wild-jump", "out-of-bounds"})


def stack_rules(localization: Localization, guard: Guard) -> tuple[AnyRule, ...]:
    """The rule `stack` where a fault, or the user, asks for it."""
    why = "--guard stack" if guard == "stack" else _why(localization) if guard != "none" else None
    return (Stack(why=why),) if why is not None else ()


def _why(localization: Localization) -> str | None:
    fault = localization.fault_class
    if fault in _CLASSES:
        return f"the fault is of class {fault}: where a function returns to may be overwritten before"
    if localization.detector in ("stack-protector", "fortify"):
        return f"{localization.detector} has seen it: an array on the stack was, or was about to be, overrun"
    if fault == "wild-dereference" and localization.truncated:
        return "the backtrace ends early: the stack may have been overwritten"
    return None
