"""Which heap blocks are guarded: where they come from, and which accesses are looked at before they are made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from stemrw.documents.localization import Localization, LocalizedFrame
from stemrw.documents.rules import AnyRule, GuardAccess, GuardSite
from stemrw.image import Image

Guard = Literal["report", "heap", "stack", "none"]
"""What the reports ask for; beside that all blocks that the file allocates, or returns (`_stack`); nothing."""

_HEAP_CLASSES = frozenset({"heap-overflow", "use-after-free", "double-free", "invalid-free"})
_WRAPPER_CALLERS = 4
"""A function that allocates for more callers than this (`xmalloc`) is a site only together with its caller."""
_MAX_OUTER = 3


def guards(fault: Localization, image: Image, guard: Guard) -> tuple[AnyRule, ...]:
    """The rules that arm guards, for the whole file or for what a report tells of a heap block."""
    if guard == "heap":
        site = _whole_file(image, "--guard heap: all that this file allocates")
    elif guard != "none" and fault.fault_class in _HEAP_CLASSES:
        site = _site(fault, image)
    else:
        return ()
    code = _code(image)
    why = "every access that this file makes in a region is checked against guarded blocks"
    return (site, GuardAccess(address=code.start, end=code.stop, why=why))


def _code(image: Image) -> range:
    segments = image.elf.code_segments
    return range(min(segment.address for segment in segments), max(segment.end for segment in segments))


def _whole_file(image: Image, why: str, *, below: bool = False) -> GuardSite:
    code = _code(image)
    return GuardSite(address=code.start, end=code.stop, below=below, why=why)


def _site(fault: Localization, image: Image) -> GuardSite:
    """The call that allocates the block; where the report does not tell, all that this file allocates."""
    if not fault.allocated:
        why = f"{fault.fault_class}: the report does not say where the block is allocated"
        return _whole_file(image, why, below=fault.below)
    first = fault.allocated[0]
    where = f"in {first.symbol or hex(first.function or first.address)}"
    if first.address == first.function and first.size:  # only the function is known
        why = f"{fault.fault_class}: the block is allocated {where}"
        return GuardSite(address=first.address, end=first.address + first.size, below=fault.below, why=why)
    outer = tuple(_outer(fault.allocated, image))
    called = f", called from {hex(outer[-1])}" if outer else ""
    why = f"{fault.fault_class}: the block is allocated before {first.address:#x} {where}{called}"
    return GuardSite(address=first.address, end=first.address + 1, below=fault.below, outer=outer, why=why)


def _outer(frames: Sequence[LocalizedFrame], image: Image) -> Iterator[int]:
    """Return addresses of the frames further out, as long as the frame below is that of a wrapper."""
    for frame, caller in zip(frames, frames[1 : 1 + _MAX_OUTER], strict=False):
        function = image.function_at(frame.function) if frame.function is not None else None
        adjacent = caller.index == frame.index + 1 and caller.address != caller.function
        callers = sum(1 for _ in image.callers(function)) if function is not None and adjacent else 0
        if callers <= _WRAPPER_CALLERS:
            return
        yield caller.address
