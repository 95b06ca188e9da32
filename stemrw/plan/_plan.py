"""From localizations to a plan: choose the regions of each fault, merge them, say why."""

from __future__ import annotations

from collections.abc import Sequence

from stemrw.documents.localization import Localization
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.documents.rules import AnyRule, Escalate
from stemrw.errors import LocalizationError
from stemrw.image import Image
from stemrw.localize import identity
from stemrw.plan._choose import Choice, choose
from stemrw.plan._guard import Guard, guards
from stemrw.plan._predicate import predicate_rules
from stemrw.plan._strategy import with_rules


def plan(
    localizations: Localization | Sequence[Localization],
    image: Image,
    *,
    known: Sequence[PlannedRegion] = (),
    known_rules: Sequence[AnyRule] = (),
    return_value: int | None = None,
    nets: bool = True,
    guard: Guard = "report",
    outputs: Sequence[AnyRule] = (),
    escalate: bool = True,
    strategy: Sequence[AnyRule] = (),
) -> Plan:
    """Decide what is to be changed in a file so that the localized faults are survived.

    `known` are regions that the file has already, `known_rules` its rules that belong to none; they stay as they are,
    but for what the user asks for. `return_value` overrides the result of the region that each fault is to be rescued
    in, and `outputs` take the place of what else its rescue does, `strategy` (rules) of what is done in a rescue's
    place. `nets` False leaves out the safety nets (callers that become regions too). `escalate` lets a fault that
    repeats for ever be rescued further out, where there is more than one region. `guard` says which heap blocks are
    guarded: those that the reports name, all of the file's, or none. Raises LocalizationError where no function can be
    a region, or a predicate stands where no instruction begins.
    """
    if isinstance(localizations, Localization):
        localizations = (localizations,)
    if not localizations:
        raise LocalizationError("there is no fault to plan for", file=image.path, hint="give at least one report")
    regions = {region.address: region for region in known}
    for localization in localizations:
        for position, choice in enumerate(choose(localization, image, nets=nets)):
            asked = return_value if position == 0 else None
            region = _region(localization, choice, image, asked, net=position > 0)
            other = regions.get(region.address)
            region = region if other is None else _merged(other, region, override=asked is not None)
            if position == 0:
                asked_rules = (*outputs, *predicate_rules(localization, image))
                region = with_rules(_with(region, asked_rules), strategy, image)
            regions[region.address] = region
    planned = list(regions.values())
    if escalate and len(planned) > 1:
        planned = [_escalating(region, image) for region in planned]
    rules = dict.fromkeys((*known_rules, *guards(localizations, image, guard)))
    return Plan(binary=identity(image), regions=tuple(planned), rules=tuple(rules))


def _with(region: PlannedRegion, rules: Sequence[AnyRule]) -> PlannedRegion:
    """The region with these rules, which take the place of those about the same."""
    about = {rule.subject() for rule in rules}
    kept = (rule for rule in region.rules if rule.subject() not in about)
    return region.model_copy(update={"rules": (*kept, *rules)})


def _escalating(region: PlannedRegion, image: Image) -> PlannedRegion:
    """`main` has no region around it."""
    is_main = image.main is not None and image.main.entry == region.address
    if is_main or any(rule.kind == "escalate" for rule in region.rules):
        return region
    return _with(region, [Escalate(why="a fault that repeats without end is rescued in the next region further out")])


def _region(
    localization: Localization, choice: Choice, image: Image, return_value: int | None, *, net: bool
) -> PlannedRegion:
    function = choice.candidate.function
    kind, value, evidence = choice.result.kind, choice.result.value, choice.result.evidence
    if return_value is not None:
        kind, value = ("double" if kind == "double" else "integer"), return_value
        evidence = (f"--return {return_value}",)
    pc = localization.fault_pc
    owner = image.owner(pc) if pc is not None else None
    checked = owner is not None and owner.function.entry == function.entry
    return PlannedRegion(
        address=function.entry,
        size=function.size,
        symbol=function.symbol,
        why=choice.why,
        return_kind=kind,
        return_value=value,
        return_evidence=evidence,
        check_address=pc if checked or (owner is not None and not net) else None,
        check_class=None if net and not checked else localization.fault_class,
    )


def _merged(one: PlannedRegion, other: PlannedRegion, *, override: bool) -> PlannedRegion:
    """The same function for two faults: the first decides what it returns, unless the user does."""
    why = (*one.why, *(w for w in other.why if w not in one.why))
    if override:
        result = other.model_dump(include={"return_kind", "return_value", "return_evidence"})
        one = one.model_copy(update=result)
    about = {rule.subject() for rule in one.rules}
    more = (rule for rule in other.rules if rule.subject() not in about)
    one = one.model_copy(update={"rules": (*one.rules, *more)})
    if one.check_address is None and other.check_address is not None:
        return one.model_copy(
            update={"why": why, "check_address": other.check_address, "check_class": other.check_class}
        )
    return one.model_copy(update={"why": why})
