"""Which entries are patched, and why in the runtime's terms."""

from __future__ import annotations

from dataclasses import dataclass

from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.elf import Elf
from stemrw.errors import BinaryError
from stemrw.rewrite import _mechanism
from stemrw.rewrite._entry import Entry, Target, find_entries


@dataclass(frozen=True)
class Site:
    """One entry that is patched; `kind` is that of the manifest's patches."""

    kind: str
    name: str | None
    entry: Entry
    region: PlannedRegion | None = None


def find_sites(elf: Elf, plan: Plan) -> tuple[list[Site], list[str]]:
    """Every entry to patch by ascending address, and the names of what stays unobserved.

    A library's first initialiser and last finaliser are left out where no jump fits in: the first region entry makes up
    for the one; without the other the library must not be unloaded.
    """
    wanted: dict[int, tuple[str, Target, PlannedRegion | None]] = {
        region.address: ("region", Target(region.address, region.size, region.symbol), region)
        for region in plan.regions
    }
    observed, unobserved = _mechanism.observed(elf)
    for kind, place in (("start", _mechanism.start(elf)), ("stop", _mechanism.stop(elf))):
        if place is not None:
            wanted.setdefault(place.address, (kind, place, None))
    for target in observed:
        wanted.setdefault(target.address, (_mechanism.kind_of(target), target, None))
    while True:
        try:
            entries = find_entries(elf, [target for _, target, _ in wanted.values()])
            break
        except BinaryError as error:
            unfit = wanted.pop(error.address or 0, None)
            if elf.is_program or unfit is None or unfit[0] not in ("start", "stop"):
                raise
            unobserved.append(unfit[1].name or unfit[0])
    sites = [
        Site(kind, target.name, entry, region)
        for (kind, target, region), entry in zip(wanted.values(), entries, strict=True)
    ]
    return sorted(sites, key=lambda site: site.entry.address), unobserved


def places_of(sites: list[Site]) -> list[tuple[int, Site]]:
    """Address and site of every replaced place, entries and stones, by address: the order of the runtime's table."""
    entries = [(site.entry.address, site) for site in sites]
    stones = [(site.entry.stone.address, site) for site in sites if site.entry.stone is not None]
    return sorted(entries + stones, key=lambda place: place[0])
