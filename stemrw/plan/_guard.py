"""Which heap blocks are guarded: where they come from, and which accesses are looked at before they are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from stemrw.documents.localization import Localization
from stemrw.documents.plan import PlannedRegion
from stemrw.documents.rules import AnyRule, GuardAccess, GuardSite
from stemrw.image import Image


Guard = Literal["report", "heap", "none"]
"""Blocks that a report names; all that the file allocates; none."""


def guards(
    localizations: Sequence[Localization], image: Image, regions: Iterable[PlannedRegion], guard: Guard
) -> tuple[AnyRule, ...]:
    """The rules that arm guards."""
    if guard == "heap":
        return _whole_file(image)
    return ()


def _whole_file(image: Image) -> tuple[AnyRule, ...]:
    """All that the file allocates, and every access that its code makes in a region."""
    segments = image.elf.code_segments
    start, end = min(segment.address for segment in segments), max(segment.end for segment in segments)
    return (
        GuardSite(address=start, end=end, why="--guard heap: all that this file allocates"),
        GuardAccess(address=start, end=end, why="--guard heap: every access that this file makes in a region"),
    )
