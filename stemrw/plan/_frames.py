"""Frames of a localization as candidates for a rescue: with the calls around them, without the C library's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from stemrw.documents.localization import Localization, LocalizedFrame
from stemrw.image import Function, Image
from stemrw.plan._calls import Site

_CYCLE_REPEATS = 3
"""A function this often in the backtrace of an exhausted stack takes part in the recursion."""

_LIBRARY_FRAMES = 10
"""How many innermost frames of a static program may be the C library on its way to abort."""

_STEPS_TO_ABORT = 3
"""At most this many frames from the signal to a function that never returns, and from that to the next one."""

_ONLY_CALLS = 5
"""How many callers are looked for where the backtrace ends."""

_FAILURE_PATH = frozenset(
    "abort raise gsignal pthread_kill __libc_message __fortify_fail __chk_fail __stack_chk_fail __assert_fail "
    "__assert_fail_base malloc_printerr munmap_chunk malloc_consolidate unlink_chunk sysmalloc _int_free _int_malloc "
    "_int_realloc free cfree __free __libc_free malloc __malloc __libc_malloc realloc __realloc __libc_realloc calloc "
    "__calloc __libc_calloc".split()
)
"""Functions of the C library between a failed check and the signal, where a static program still has their names."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A function of the backtrace that could be rescued, with the call that entered it and the calls around that.

    Where the backtrace does not show that call, as when the stack was overwritten, it is the only one that there is.
    """

    function: Function
    frame: LocalizedFrame
    sites: tuple[Site, ...]

    @property
    def inside(self) -> int | None:
        """The point that the function had reached: the fault, or the address behind the call towards it."""
        frame = self.frame
        known = frame.index >= 0 and not frame.guess and frame.address != self.function.entry
        return frame.address if known else None


def candidates_of(localization: Localization, image: Image) -> list[Candidate]:
    """All frames with a known function from the start of planning outwards; the program's entry code is none."""
    frames = localization.frames[localization.start :]
    sites = [_site(inner, outer, image) for inner, outer in zip(frames, frames[1:], strict=False)]
    found = []
    for i, frame in enumerate(frames):
        if frame.function is None or frame.function == image.elf.entry:
            continue
        owner = image.owner(frame.function)
        if owner is None:
            continue
        chain = []
        for site in sites[i:]:
            if site is None:
                break
            chain.append(site)
        found.append(Candidate(owner.function, frame, tuple(chain) or _only_calls(owner.function, image)))
        if image.main is not None and owner.function.entry == image.main.entry:
            break  # further out there is only the C library's start-up code, in static programs
    if not found and image.main is not None and not localization.pinned:
        found.append(Candidate(image.main, _unseen(image.main), ()))
    return found


def _only_calls(function: Function, image: Image) -> tuple[Site, ...]:
    """The call of a function, and that of its caller, and so on, as long as this file holds one only."""
    found: list[Site] = []
    while len(found) < _ONLY_CALLS:
        calls = list(islice(image.callers(function), 2))
        if len(calls) != 1 or not calls[0][0].is_call:
            break
        call, _ = calls[0]
        owner = image.owner(call.address)
        if owner is None or owner.function.entry == function.entry:
            break
        function = owner.function
        found.append(Site(call.end, function))
    return tuple(found)


def _unseen(function: Function) -> LocalizedFrame:
    """The frame of a function that is not in the backtrace."""
    said = "it is not in the backtrace"
    return LocalizedFrame(
        index=-1, address=function.entry, function=function.entry, size=function.size, symbol=function.symbol,
        evidence=(said,),
    )  # fmt: skip


def _site(inner: LocalizedFrame, outer: LocalizedFrame, image: Image) -> Site | None:
    """The call in the outer frame that entered the inner one; None where another file or a guess is between."""
    if outer.index != inner.index + 1 or outer.guess or inner.index < 0 or outer.address == outer.function:
        return None  # an entry is no return address: the frame is known by name only
    owner = image.owner(outer.address - 1)
    return Site(outer.address, owner.function) if owner is not None else None


def outside_of_library(localization: Localization, candidates: list[Candidate], image: Image) -> list[Candidate]:
    """Without the C library's own innermost frames, which static programs have in the file itself.

    An abort goes through functions that return (`raise`) to one that never does; whoever called that is in question. A
    forbidden system call is made by a wrapper that holds the instruction and calls nothing.
    """
    if localization.frames[localization.start].index != 0:
        return candidates
    if localization.fault_class == "abort":
        inside = -1
        for position, candidate in enumerate(candidates[:_LIBRARY_FRAMES]):
            named = candidate.frame.symbol in _FAILURE_PATH
            if named or (position <= inside + _STEPS_TO_ABORT and not image.may_return(candidate.function)):
                inside = position
        return candidates[inside + 1 :] or candidates
    if localization.fault_class == "bad-syscall":
        body = image.body(candidates[0].function)
        if any(i.mnemonic == "syscall" for i in body) and not any(i.is_call for i in body):
            return candidates[1:] or candidates
    return candidates


def cycle(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates that belong to the recursion, innermost first."""
    count: dict[int, int] = {}
    for candidate in candidates:
        count[candidate.function.entry] = count.get(candidate.function.entry, 0) + 1
    return [c for c in candidates if count[c.function.entry] >= _CYCLE_REPEATS]
