"""From localizations to a plan: choose the regions of each fault, merge them, say why."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence

from stemrw.documents.evidence import ReturnKind
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
from stemrw.plan._regions import file_rules, is_sliced, unescalated, without_nets
from stemrw.plan._stack import stack_rules
from stemrw.plan._strategy import wants_to_be_outermost, with_rules


def plan(
    localizations: Localization | Sequence[Localization],
    image: Image,
    *,
    known: Sequence[PlannedRegion] = (),
    return_value: int | float | None = None,
    budgets: Sequence[_budget.Wish] = (),
    nets: bool = True,
    policy: Policy = "evidence",
    guard: Guard = "report",
    outputs: Sequence[AnyRule] = (),
    escalate: bool = True,
    strategy: Sequence[AnyRule] | None = None,
) -> Plan:
    """Decide what is to be changed in a file so that the localized faults are survived.

    `known` are regions that the file has already, with what they ask of the whole file; they stay as they are, but for
    what the user asks for. `return_value` overrides the result of the region that each fault is to be rescued in
    (a float is returned as functions return a double, and so is any number where the function is known to do so),
    `budgets` what it may use, and `outputs` take the place of what else its rescue does, `strategy` (rules; none: the
    default, None: nothing is said of it) of what is done in a rescue's place. `nets` False leaves out the safety nets
    (callers that become regions too). `policy` is how value and place are chosen; others than "evidence" are there to
    compare with. `escalate` lets a fault that repeats for ever be rescued further out, where there is more than one
    region. `guard` says what is guarded: what the reports ask for, all heap blocks, all returns, or nothing.

    Raises LocalizationError where no function can be a region, or a predicate stands where no instruction begins.
    """
    if isinstance(localizations, Localization):
        localizations = (localizations,)
    if not localizations:
        raise LocalizationError("there is no fault to plan for", file=image.path, hint="give at least one report")
    regions = {region.address: region for region in known}
    chosen: set[int] = set()
    planned: set[int] = set()
    reading = Reading(image)
    for localization in localizations:
        alone = wants_to_be_outermost(strategy or ())
        free = strategy is None and return_value is None
        choices = choose(localization, reading, nets=nets and not alone, policy=policy, strategies=free)
        first = choices[0].candidate.function.entry
        if strategy is None and first in regions and wants_to_be_outermost(regions[first].rules):
            alone, choices = True, choose(localization, reading, nets=False, policy=policy)
        if alone:
            regions = {region.address: region for region in without_nets(tuple(regions.values()), first)}
        if guard != "report" and first in regions and first not in chosen:
            regions[first] = regions[first].model_copy(update={"asks": ()})
        for position, choice in enumerate(choices):
            asked = return_value if position == 0 else None
            region = _region(localization, choice, image, asked, net=position, serves=first, guard=guard)
            if region.address in regions:
                region = _merged(regions[region.address], region, override=asked is not None)
            if position == 0:
                region = _with(region, (*outputs, *predicate_rules(localization, image)))
                around = _around(first, localization, regions) if alone else ()
                region = with_rules(region, strategy, image, around=around)
            regions[region.address] = region
            planned.add(region.address)
        chosen.add(first)
    found = _budget.wished(tuple(regions.values()), chosen, budgets)
    found = _escalating(found, image, planned if len(known) > 1 else regions, escalate=escalate)
    return Plan(binary=identity(image), regions=found, rules=file_rules(found))


def _around(
    function: int, localization: Localization, regions: Mapping[int, PlannedRegion]
) -> tuple[PlannedRegion, ...]:
    """Regions further out than a function in the backtrace of a fault."""
    order = [frame.function for frame in localization.frames]
    outer = dict.fromkeys(order[order.index(function) + 1 :] if function in order else [])
    return tuple(regions[entry] for entry in outer if entry is not None and entry != function and entry in regions)


def _with(region: PlannedRegion, rules: Sequence[AnyRule]) -> PlannedRegion:
    """The region with these rules, which take the place of those about the same."""
    about = {rule.subject() for rule in rules}
    kept = (rule for rule in region.rules if rule.subject() not in about)
    return region.model_copy(update={"rules": (*kept, *rules)})


def _escalating(
    regions: Sequence[PlannedRegion], image: Image, planned: Collection[int], *, escalate: bool
) -> tuple[PlannedRegion, ...]:
    """The regions, with or without the rule for those that were planned; `main` has no region around it.

    What is around a slice is its function.
    """
    main = image.main.entry if image.main is not None else None
    found = []
    for region in regions:
        has = any(isinstance(rule, Escalate) for rule in region.rules)
        why = "a fault that repeats without end is rescued in the next region further out"
        if is_sliced(region):
            why = "a slice that repeats its fault without end is its function's"
        if region.address in planned and escalate and not has and (region.address != main or is_sliced(region)):
            region = _with(region, [Escalate(why=why)])
        elif region.address in planned and not escalate and has:
            rules = tuple(rule for rule in region.rules if not isinstance(rule, Escalate))
            region = region.model_copy(update={"rules": rules})
        found.append(region)
    return unescalated(found)


def _region(
    localization: Localization,
    choice: Choice,
    image: Image,
    return_value: int | float | None,
    *,
    net: int,
    serves: int,
    guard: Guard,
) -> PlannedRegion:
    function = choice.candidate.function
    kind, value, evidence = choice.result.kind, choice.result.value, choice.result.evidence
    if return_value is not None:
        kind, value = _result(return_value, kind)
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
        is_main=is_main,
        candidates=choice.result.candidates,
        considered=choice.considered,
        serves=(serves,),
        asks=() if net else (*stack_rules(localization, guard), *guards(localization, image, guard)),
        rules=(*choice.result.rules, *((budget,) if budget is not None else ())),
    )


def _result(asked: int | float, kind: ReturnKind) -> tuple[ReturnKind, int]:
    """What the user asks for, as a kind and a 64-bit pattern; `kind` is what the evidence says."""
    if isinstance(asked, float) or kind == "double":
        return "double", int.from_bytes(struct.pack("<d", float(asked)), "little")
    return "integer", asked


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
    serves = tuple(sorted({*(one.serves or (one.address,)), *other.serves}))
    asks = tuple({rule.subject(): rule for rule in (*other.asks, *one.asks)}.values())
    one = one.model_copy(update={"rules": rules, "considered": considered, "serves": serves, "asks": asks})
    if one.check_address is None and other.check_address is not None:
        return one.model_copy(
            update={"why": why, "check_address": other.check_address, "check_class": other.check_class}
        )
    return one.model_copy(update={"why": why})
