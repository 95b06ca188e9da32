"""Budgets: how much one entry of a region may use, from what was seen of a hang, or from what the user says.

The figures and their reasons: docs/budgets.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from stemrw.documents.localization import Localization
from stemrw.documents.plan import PlannedRegion
from stemrw.documents.rules import AnyRule, Budget
from stemrw.errors import UsageError

_SEEN_MILLISECONDS = 3000
"""CPU time after which a program counts as hanging, where the report does not say."""

_SHARE = 3
"""A region's part of that; all of it where the region is the whole program."""

_LEAST, _MOST = 250, 5000
"""Milliseconds: the bounds of what is derived."""

_MEMORY = 256 << 20
"""Bytes for a region that exhausted the memory."""

_UNITS = {
    "": ("ticks", 1),
    "ms": ("cpu_milliseconds", 1),
    "s": ("cpu_milliseconds", 1000),
    "KiB": ("memory_bytes", 1 << 10),
    "MiB": ("memory_bytes", 1 << 20),
    "GiB": ("memory_bytes", 1 << 30),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """A budget that the user sets: a field of `Budget`, for the region of that name or address (None: the chosen)."""

    region: str | None
    field: str
    amount: int
    why: str
    required: bool = True
    """False: where that is no region, nothing is wished."""


def wish(text: str) -> Wish:
    """Read `[FUNCTION=]AMOUNT`: 5000000 (ticks), 500ms, 2s, 64MiB.  Raises UsageError."""
    region, _, amount = text.rpartition("=")
    found = re.fullmatch(r"(\d{1,20}(?:\.\d{1,20})?)(ms|s|KiB|MiB|GiB|)", amount)
    if found is None or (not found[2] and "." in found[1]):
        hint = "ticks such as 5000000, CPU time such as 500ms or 2s, or memory such as 64MiB"
        raise UsageError(f"--budget {text!r} is no amount", hint=hint)
    field, unit = _UNITS[found[2]]
    value = int(float(found[1]) * unit) if "." in found[1] else int(found[1]) * unit
    if value >= 1 << 40 and field == "cpu_milliseconds" or value >= 1 << 63:
        raise UsageError(f"--budget {text!r} is too large", hint="0 means any amount")
    return Wish(region or None, field, value, f"--budget {text}")


def derived(localization: Localization, net: int, *, is_main: bool) -> Budget | None:
    """The budget that a fault of this class asks for; None: none.

    `net` is 0 for the region that is meant to be rescued, and counts its safety nets from the inside out. These have
    more, and begin to count when something was rescued in them: as long as all goes well they may take any time.
    """
    more, after = 1 << net, net > 0
    where = "from the first rescue inside on" if after else "for one entry"
    if localization.fault_class == "hang":
        seen = round(localization.cpu_seconds * 1000) if localization.cpu_seconds else _SEEN_MILLISECONDS
        milliseconds = min(max(seen // (1 if is_main and not after else _SHARE), _LEAST), _MOST) * more
        why = f"{milliseconds:,} ms of CPU time {where}: {seen:,} ms were seen to be no end"
        return Budget(cpu_milliseconds=milliseconds, after_rescue=after, why=why)
    if localization.fault_class == "memory-exhaustion":
        why = f"{_MEMORY * more >> 20} MiB {where}: it had exhausted the memory"
        return Budget(memory_bytes=_MEMORY * more, after_rescue=after, why=why)
    return None


def of(region: PlannedRegion) -> tuple[Budget, ...]:
    """What a region may use: at most one budget."""
    return tuple(rule for rule in region.rules if isinstance(rule, Budget))


def merged(rules: Sequence[AnyRule]) -> tuple[AnyRule, ...]:
    """Rules of one region for several faults: of its budgets the one that always counts, and the larger figures.

    What the user has set stays.
    """
    budgets = [rule for rule in rules if isinstance(rule, Budget)]
    alike = [budget for budget in budgets if not budget.after_rescue] or budgets
    asked = [budget for budget in alike if budget.why.startswith("--")]
    if asked:
        rules = [asked[0] if isinstance(rule, Budget) else rule for rule in rules]
    elif len(alike) > 1 or alike != budgets:
        budget = Budget(
            ticks=max(budget.ticks for budget in alike),
            cpu_milliseconds=max(budget.cpu_milliseconds for budget in alike),
            memory_bytes=max(budget.memory_bytes for budget in alike),
            after_rescue=alike[0].after_rescue,
            why="; ".join(dict.fromkeys(why for budget in alike for why in budget.why.split("; "))),
        )
        rules = [budget if isinstance(rule, Budget) else rule for rule in rules]
    return tuple(dict.fromkeys(rules))


def wished(
    regions: Sequence[PlannedRegion], chosen: Collection[int], wishes: Sequence[Wish]
) -> tuple[PlannedRegion, ...]:
    """The regions with the budgets that the user has set; `chosen` are the addresses of those that are meant without a
    name.  Raises UsageError for a name of no region."""
    known = {name for region in regions for name in _names(region)}
    for each in wishes:
        if each.required and each.region is not None and _name(each.region) not in known:
            raise UsageError(f"--budget for {each.region!r}: no such region", hint="name one that becomes a region")
    return tuple(
        _with(
            region,
            [
                w
                for w in wishes
                if (region.address in chosen if w.region is None else _name(w.region) in _names(region))
            ],
        )
        for region in regions
    )


def _with(region: PlannedRegion, wishes: Sequence[Wish]) -> PlannedRegion:
    if not wishes:
        return region
    had = next((rule for rule in region.rules if isinstance(rule, Budget)), Budget())
    why = "; ".join(each.why for each in wishes)
    fields = {each.field: each.amount for each in wishes}
    budget = had.model_copy(update={**fields, "after_rescue": False, "why": why})
    rules = [rule for rule in region.rules if not isinstance(rule, Budget)]
    return region.model_copy(update={"rules": (*rules, budget)})


def _names(region: PlannedRegion) -> set[str | int]:
    return {region.address} if region.symbol is None else {region.address, region.symbol}


def _name(text: str) -> str | int:
    try:
        return int(text, 0)
    except ValueError:
        return text
