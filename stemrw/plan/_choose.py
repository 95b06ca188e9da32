"""Which functions become regions: the frames of a localization, narrowed down by evidence.

Rules and their reasons: docs/plan.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stemrw.documents.localization import Localization, LocalizedFrame
from stemrw.errors import LocalizationError
from stemrw.image import Function, Image
from stemrw.plan._result import Result, Site, decide

_MAXIMUM_CLIMB = 6
"""How many callers further out a rescue may be moved for the sake of a usable result."""

_CYCLE_REPEATS = 3
"""A function this often in the backtrace of an exhausted stack takes part in the recursion."""


_CORRUPTING = frozenset(("wild-dereference", "wild-jump", "return-address"))
"""Faults that are often the late consequence of memory overwritten earlier, if no check found them."""


_LIBRARY_FRAMES = 10
"""How many innermost frames of a static program may be the C library on its way to abort."""

_STEPS_TO_ABORT = 3
"""At most this many frames from the signal to a function that never returns, and from that to the next one."""

_FAILURE_PATH = frozenset(
    "abort raise gsignal pthread_kill __libc_message __fortify_fail __chk_fail __stack_chk_fail __assert_fail "
    "__assert_fail_base malloc_printerr munmap_chunk malloc_consolidate unlink_chunk sysmalloc _int_free _int_malloc "
    "_int_realloc free cfree __free __libc_free malloc __malloc __libc_malloc realloc __realloc __libc_realloc calloc "
    "__calloc __libc_calloc".split()
)
"""Functions of the C library between a failed check and the signal, where a static program still has their names."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A function of the backtrace that could be rescued, with the call that entered it and the calls around that."""

    function: Function
    frame: LocalizedFrame
    sites: tuple[Site, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A function that becomes a region, with its result and the reasons."""

    candidate: Candidate
    result: Result
    why: tuple[str, ...]


def choose(localization: Localization, image: Image, *, nets: bool = True) -> list[Choice]:
    """The regions for one fault: the one that is meant to be rescued, then its safety nets from the inside out.

    A safety net is a function further out that becomes a region too: a fault that the error value causes in the caller
    is then rescued there. `nets` False leaves them out.
    """
    candidates = _candidates(localization, image)
    if not candidates:
        raise LocalizationError(
            "no frame of the report leads to a function that could be rescued", file=image.path, hint="use --region"
        )
    if localization.pinned:
        first = candidates[0]
        return [Choice(first, decide(image, first.function, first.sites), _said(localization))]
    candidates = _outside_of_library(localization, candidates, image)
    in_cycle = _cycle(candidates) if localization.fault_class == "stack-exhaustion" else []
    chosen = _from_cycle(in_cycle, image) if in_cycle else _climb(localization, candidates, image)
    if not nets:
        return [chosen]
    inside = in_cycle[-1] if in_cycle else chosen.candidate
    outer = candidates[candidates.index(inside) + 1 :]
    return [chosen, *_nets(localization, chosen, outer, image)]


def _nets(localization: Localization, chosen: Choice, outer: Sequence[Candidate], image: Image) -> list[Choice]:
    """The caller; and, where little speaks for the rescue to go well, the outermost function of this file as well."""
    main = image.main.entry if image.main is not None else None
    taken = {chosen.candidate.function.entry}

    def usable(candidate: Candidate) -> bool:
        entry = candidate.function.entry
        return (
            entry not in taken and not candidate.frame.guess and (entry == main or image.may_return(candidate.function))
        )

    doubt = _doubt(localization, chosen)
    caller = next(filter(usable, outer), None)
    outermost = next(filter(usable, reversed(outer)), None)
    found: list[Choice] = []
    if caller is not None:
        why = f"safety net: a caller of {chosen.candidate.function}, for faults that its error value causes"
        found.append(Choice(caller, decide(image, caller.function, caller.sites), (why,)))
    if doubt and outermost is not None and caller is not None and outermost.function != caller.function:
        why = f"safety net: the outermost function of this file in the backtrace, because {doubt}"
        found.append(Choice(outermost, decide(image, outermost.function, outermost.sites), (why,)))
    return found


def _doubt(localization: Localization, chosen: Choice) -> str | None:
    """Why one rescued function may not be enough; None where the caller will see the error, and memory is sound."""
    if chosen.result.hazard is not None:
        return f"no better place was found, although {chosen.result.hazard}"
    if localization.detector in ("heap", "stack-protector") or (
        localization.fault_class in _CORRUPTING and localization.detector is None
    ):
        return f"memory may have been damaged before (a fault of class {localization.fault_class})"
    if not chosen.result.handled:
        return "it is not known how the caller treats an error"
    return None


def _said(localization: Localization) -> tuple[str, ...]:
    return tuple(e for e in localization.evidence if e.startswith("--")) or localization.evidence[-1:]


def _candidates(localization: Localization, image: Image) -> list[Candidate]:
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
        found.append(Candidate(owner.function, frame, tuple(chain)))
        if image.main is not None and owner.function.entry == image.main.entry:
            break  # further out there is only the C library's start-up code, in static programs
    return found


def _site(inner: LocalizedFrame, outer: LocalizedFrame, image: Image) -> Site | None:
    """The call in the outer frame that entered the inner one; None where another file or a guess is between."""
    if outer.index != inner.index + 1 or outer.guess or inner.index < 0 or outer.address == outer.function:
        return None  # an entry is no return address: the frame is known by name only
    owner = image.owner(outer.address - 1)
    return Site(outer.address, owner.function) if owner is not None else None


def _outside_of_library(localization: Localization, candidates: list[Candidate], image: Image) -> list[Candidate]:
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


def _climb(localization: Localization, candidates: Sequence[Candidate], image: Image) -> Choice:
    """Outwards from the fault to the first function that can return, and whose result its caller can live with."""
    passed: list[str] = []
    first: Choice | None = None
    tried: set[int] = set()
    main = image.main
    for candidate in candidates:
        # An outer activation of a function has the same code behind its call more often than not.
        if candidate.function.entry in tried:
            continue
        tried.add(candidate.function.entry)
        name = str(candidate.function)
        is_main = main is not None and main.entry == candidate.function.entry
        if not is_main and not image.may_return(candidate.function):
            passed.append(f"{name} never returns")
            continue
        result = decide(image, candidate.function, candidate.sites)
        why = (_place(localization, candidate), *passed)
        choice = Choice(candidate, result, why)
        if result.hazard is None:
            return choice
        first = first or choice
        passed.append(f"{name} is no good place: {result.hazard}")
        if len(tried) > _MAXIMUM_CLIMB:
            break
    if first is None:
        last = candidates[-1]
        return Choice(last, decide(image, last.function, last.sites), (*passed, "the outermost frame of this file"))
    return first


def _place(localization: Localization, candidate: Candidate) -> str:
    if candidate.frame is localization.frames[localization.start]:
        return localization.evidence[-1]
    return f"frame {candidate.frame.index} of the report"


def _cycle(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates that belong to the recursion, innermost first."""
    count: dict[int, int] = {}
    for candidate in candidates:
        count[candidate.function.entry] = count.get(candidate.function.entry, 0) + 1
    return [c for c in candidates if count[c.function.entry] >= _CYCLE_REPEATS]


def _from_cycle(cycle: Sequence[Candidate], image: Image) -> Choice:
    """The function of the recursion that is called from within it nearest its outermost end.

    Its rescue rolls back to its outermost activation, so one error value ends the whole recursion; and its caller is a
    function of the recursion that also handles nested elements, rather than the outer code that expects a whole one.
    """
    order = list(dict.fromkeys(c.function.entry for c in reversed(cycle)))
    inner = order[1:] or order
    said = f"{len(order)} function{'s' if len(order) > 1 else ''} take part in the recursion"
    where = "called from its outermost function" if len(order) > 1 else "the only one"
    choices = []
    for entry in inner:
        candidate = next(c for c in reversed(cycle) if c.function.entry == entry)
        choices.append(Choice(candidate, decide(image, candidate.function, candidate.sites), (said, where)))
    return next((c for c in choices if c.result.hazard is None), choices[0])
