"""From localizations to a plan: choose the regions of each fault, merge them, say why."""

from __future__ import annotations

from collections.abc import Sequence

from stemrw.documents.localization import Localization
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.documents.rules import AnyRule, Escalate
from stemrw.errors import LocalizationError
from stemrw.image import Image
from stemrw.localize import identity
from stemrw.plan import _budget
from stemrw.plan._choose import Choice, Policy, choose
from stemrw.plan._guard import Guard, guards
from stemrw.plan._predicate import predicate_rules
from stemrw.plan._reading import Reading
from stemrw.plan._stack import with_stack
from stemrw.plan._strategy import wants_to_be_outermost, with_rules


def plan(
    localizations: Localization | Sequence[Localization],
    image: Image,
    *,
    known: Sequence[PlannedRegion] = (),
    known_rules: Sequence[AnyRule] = (),
    return_value: int | None = None,
    budgets: Sequence[_budget.Wish] = (),
    nets: bool = True,
    policy: Policy = "evidence",
    guard: Guard = "report",
    outputs: Sequence[AnyRule] = (),
    escalate: bool = True,
    strategy: Sequence[AnyRule] = (),
) -> Plan:
    """Decide what is to be changed in a file so that the localized faults are survived.

    `known` are regions that the file has already, `known_rules` its rules that belong to none; they stay as they are,
    but for what the user asks for. `return_value` overrides the result of the region that each fault is to be rescued
    in, `budgets` what it may use, and `outputs` take the place of what else its rescue does, `strategy` (rules) of what
    is done in a rescue's place. `nets` False leaves out the safety nets (callers that become regions too). `policy` is
    how value and place are chosen; others than "evidence" are there to compare with. `escalate` lets a fault that
    repeats for ever be rescued further out, where there is more than one region. `guard` says what is guarded: what the
    reports ask for, all heap blocks, all returns, or nothing.

    Raises LocalizationError where no function can be a region, or a predicate stands where no instruction begins.
    """
    if isinstance(localizations, Localization):
        localizations = (localizations,)
    if not localizations:
        raise LocalizationError("there is no fault to plan for", file=image.path, hint="give at least one report")
    regions = {region.address: region for region in known}
    chosen = set()
    reading = Reading(image)
    nets = nets and not wants_to_be_outermost(strategy)
    for localization in localizations:
        for position, choice in enumerate(choose(localization, reading, nets=nets, policy=policy)):
            asked = return_value if position == 0 else None
            region = _region(localization, choice, image, asked, net=position)
            if position == 0:
                chosen.add(region.address)
            other = regions.get(region.address)
            region = region if other is None else _merged(other, region, override=asked is not None)
            if position == 0:
                asked_rules = (*outputs, *predicate_rules(localization, image))
                region = with_rules(_with(region, asked_rules), strategy, image)
            regions[region.address] = region
    planned = _budget.wished(tuple(regions.values()), chosen, budgets)
    if escalate:
        planned = tuple(_escalating(region, image, alone=len(planned) == 1) for region in planned)
    rules = dict.fromkeys((*with_stack(known_rules, localizations, guard), *guards(localizations, image, guard)))
    return Plan(binary=identity(image), regions=planned, rules=tuple(rules))


def _with(region: PlannedRegion, rules: Sequence[AnyRule]) -> PlannedRegion:
    """The region with these rules, which take the place of those about the same."""
    about = {rule.subject() for rule in rules}
    kept = (rule for rule in region.rules if rule.subject() not in about)
    return region.model_copy(update={"rules": (*kept, *rules)})


def _escalating(region: PlannedRegion, image: Image, *, alone: bool) -> PlannedRegion:
    """`main` has no region around it. What is around a slice is its function."""
    is_main = image.main is not None and image.main.entry == region.address
    if any(rule.kind == "escalate" for rule in region.rules):
        return region
    if any(rule.kind == "slice" for rule in region.rules):
        return _with(region, [Escalate(why="a slice that repeats its fault without end is the function's")])
    if is_main or alone:
        return region
    return _with(region, [Escalate(why="a fault that repeats without end is rescued in the next region further out")])


def _region(
    localization: Localization, choice: Choice, image: Image, return_value: int | None, *, net: int
) -> PlannedRegion:
    function = choice.candidate.function
    kind, value, evidence = choice.result.kind, choice.result.value, choice.result.evidence
    if return_value is not None:
        kind, value = ("double" if kind == "double" else "integer"), return_value
        evidence = (f"--return {return_value}",)
    pc = localization.fault_pc
    owner = image.owner(pc) if pc is not None else None
    is_main = image.main is not None and image.main.entry == function.entry
    budget = _budget.derived(localization, net, is_main=is_main)
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
        candidates=choice.result.candidates,
        considered=choice.considered,
        rules=(*choice.result.rules, *((budget,) if budget is not None else ())),
    )


def _merged(one: PlannedRegion, other: PlannedRegion, *, override: bool) -> PlannedRegion:
    """The same function for two faults: the first decides what it returns, unless the user does."""
    why = (*one.why, *(w for w in other.why if w not in one.why))
    if override:
        taken = ("return_kind", "return_value", "return_evidence", "candidates")
        one = one.model_copy(update={name: getattr(other, name) for name in taken})
    considered = tuple(dict.fromkeys((*one.considered, *other.considered)))
    about = {rule.subject() for rule in one.rules}
    more = (rule for rule in other.rules if rule.subject() not in about)
    rules = _budget.merged((*one.rules, *more, *_budget.of(other)))
    one = one.model_copy(update={"rules": rules, "considered": considered})
    if one.check_address is None and other.check_address is not None:
        return one.model_copy(
            update={"why": why, "check_address": other.check_address, "check_class": other.check_class}
        )
    return one.model_copy(update={"why": why})
