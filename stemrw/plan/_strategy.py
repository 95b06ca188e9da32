"""What is done about a fault in a region, where something else than the error value is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from stemrw.documents.plan import PlannedRegion
from stemrw.documents.rules import STRATEGIES, AnyRule, Slice, SliceExit, SliceSet, Strategy
from stemrw.elf.constants import DT_NEEDED
from stemrw.errors import LocalizationError, UsageError
from stemrw.image import Image

_COMPLETIONS = 4096
"""Accesses that `oblivious` may leave out per entry: each value of a byte is manufactured once in 762 reads."""

_DIVISIONS = 64
"""The same, where only divisions are meant to be left out."""

_CHILD_STATUS = 1
_BY_NAME = ("die", "oblivious", "retry", "end-thread", "end-child")


def strategy_rules(name: str, image: Image) -> tuple[AnyRule, ...]:
    """The rules of a strategy that a user names. Raises UsageError: there is none of that name, or it cannot be.

    `return` has none, `slice` takes more than a name.
    """
    if name == "return":
        return ()
    if name not in _BY_NAME:
        names = ", ".join(n for n in STRATEGIES if n in _BY_NAME or n == "return")
        hint = f"one of {names}; a slice is --region A..B"
        raise UsageError(f"--strategy {name}: there is no such strategy", hint=hint)
    why, address = f"--strategy {name}", None
    if name == "end-thread":
        address = next((function.entry for function in image.functions_named("pthread_exit")), None)
        if address is None and not image.elf.dynamic.get(DT_NEEDED):
            text = "--strategy end-thread: there is no pthread_exit in this static program"
            raise UsageError(text, file=image.path, hint="use another strategy")
    limit = {"oblivious": _COMPLETIONS, "end-child": _CHILD_STATUS}.get(name, 0)
    return (Strategy(name=name, limit=limit, address=address, why=why),)


def left_out(fault_class: str, *, repeats: bool) -> tuple[Strategy, ...]:
    """The strategy of a fault about which nobody can be told: the caller `repeats` the call for ever, all unchanged.

    A division leaves nothing behind but two registers, and other processors give 0 where this one faults. What else is
    left out may be missed in memory, and is not left out unless the user says so: no rule.
    """
    if fault_class != "divide" or not repeats:
        return ()
    said = (
        "no error value ends the caller's loop: a division that faults gives 0, as on other processors, and it goes on"
    )
    return (Strategy(name="oblivious", limit=_DIVISIONS, why=said),)


def with_rules(
    region: PlannedRegion,
    rules: Sequence[AnyRule] | None,
    image: Image,
    *,
    around: Sequence[PlannedRegion] = (),
) -> PlannedRegion:
    """The region with the strategy that was asked for; None: with the one that it has.

    `around` are regions further out, of which a strategy that has to be outermost is told.
    Raises LocalizationError where this function cannot have it.
    """
    if rules is None:
        return region
    if wants_to_be_outermost(rules):
        _check_single_entry(region, image)
        rules = [_noted(rule, around) for rule in rules]
    return region.model_copy(update={"rules": merged(region.rules, rules)})


def _noted(rule: AnyRule, around: Sequence[PlannedRegion]) -> AnyRule:
    """The rule, saying what keeps it from being followed."""
    if not around or not wants_to_be_outermost((rule,)):
        return rule
    names = ", ".join(region.symbol or hex(region.address) for region in around)
    why = f"{rule.why}; with one thread an ordinary rescue: the region lies inside another one, {names}"
    return rule.model_copy(update={"why": why})


def wants_to_be_outermost(rules: Sequence[AnyRule]) -> bool:
    """Whether a safety net around the region would keep the strategy from being followed: `retry`, with one thread."""
    return any(isinstance(rule, Strategy) and rule.name == "retry" for rule in rules)


def merged(one: Sequence[AnyRule], other: Sequence[AnyRule]) -> tuple[AnyRule, ...]:
    """Both without repetitions; the strategy is that of the other, which may be the default: no rule."""
    kinds = (Strategy, Slice, SliceExit, SliceSet)
    return tuple(dict.fromkeys((*(rule for rule in one if not isinstance(rule, kinds)), *other)))


def _check_single_entry(region: PlannedRegion, image: Image) -> None:
    """Registers are kept where the function is entered; one that jumps back there would keep them anew."""
    function = image.function_at(region.address)
    if function is None:
        return
    for instruction in image.whole_body(function):
        if instruction.is_jump and instruction.target == region.address:
            raise LocalizationError(
                "--strategy retry: the function jumps back to its own entry",
                file=image.path, address=instruction.address, hint="use another strategy, or its caller: --region",
            )  # fmt: skip
