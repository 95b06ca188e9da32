"""The regions of a file: what they ask of it together, and what is left without some of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from stemrw.documents.manifest import Manifest
from stemrw.documents.plan import PlannedRegion
from stemrw.documents.rules import AnyRule, Escalate, Slice


def remembered(manifest: Manifest) -> tuple[PlannedRegion, ...]:
    """The regions of a hardened file, each with what it asks of the whole file.

    Rules of the file that no region asks for (the manifest was edited, or is of an earlier version) all ask for.
    """
    asked = {rule.subject() for region in manifest.regions for rule in region.asks}
    others = tuple(rule for rule in manifest.rules if rule.subject() not in asked)
    return tuple(region.model_copy(update={"asks": (*region.asks, *others)}) for region in manifest.regions)


def file_rules(regions: Sequence[PlannedRegion]) -> tuple[AnyRule, ...]:
    """What the regions ask of the whole file, each once."""
    found: dict[tuple[object, ...], AnyRule] = {}
    for region in sorted(regions, key=lambda region: region.address):
        for rule in region.asks:
            found.setdefault(rule.subject(), rule)
    return tuple(found.values())


def without(regions: Sequence[PlannedRegion], unwanted: Collection[int]) -> tuple[PlannedRegion, ...]:
    """The regions without those at these addresses, and without the safety nets that were there for them only."""
    rest = tuple(region for region in regions if region.address not in unwanted)
    return unescalated(_unserving(rest, unwanted))


def without_nets(regions: Sequence[PlannedRegion], served: int) -> tuple[PlannedRegion, ...]:
    """The regions without the safety nets that are there for the one at `served` only."""
    nets = [region for region in regions if region.address != served]
    return (*(region for region in regions if region.address == served), *_unserving(nets, {served}))


def is_sliced(region: PlannedRegion) -> bool:
    """Whether a piece of it is skipped when it faults."""
    return any(isinstance(rule, Slice) for rule in region.rules)


def unescalated(regions: Sequence[PlannedRegion]) -> tuple[PlannedRegion, ...]:
    """The regions; a single one without the rule for a fault that repeats: no region lies further out, nor a slice in
    it."""
    if len(regions) != 1 or is_sliced(regions[0]):
        return tuple(regions)
    rules = tuple(rule for rule in regions[0].rules if not isinstance(rule, Escalate))
    return (regions[0].model_copy(update={"rules": rules}),)


def _unserving(regions: Sequence[PlannedRegion], served: Collection[int]) -> tuple[PlannedRegion, ...]:
    """As if these had never been there to be served."""
    found = []
    for region in regions:
        serves = tuple(address for address in region.serves if address not in served)
        if serves or not region.serves:
            found.append(region.model_copy(update={"serves": serves}))
    return tuple(found)
