"""Which functions become regions: the frames of a localization, rated by evidence, and the safety nets around one.

Rules and their reasons: docs/plan.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from stemrw.documents.evidence import RescuePoint, ValueCandidate
from stemrw.documents.localization import Localization
from stemrw.documents.rules import AnyRule
from stemrw.errors import LocalizationError
from stemrw.plan._calls import in_loop
from stemrw.plan._frames import Candidate, candidates_of, cycle, outside_of_library
from stemrw.plan._library_call import library_call
from stemrw.plan._mine import Result, by_type, mine
from stemrw.plan._reading import Reading
from stemrw.plan._rescue import Rated, rate
from stemrw.plan._strategy import left_out
from stemrw.text import counted

Policy = Literal["evidence", "types", "minus-one"]
"""How value and place are chosen: by all evidence; by type and width in the crashing function; -1 from there."""
POLICIES: tuple[Policy, ...] = get_args(Policy)

_MAXIMUM_CLIMB = 6
"""How many callers further out a rescue may be moved for the sake of a usable result."""

_AROUND = 3
"""Functions around a recursion that are rated too."""

_AGAIN = -12
"""Points where the stack would be exhausted again for each part of the input."""

_FAINT = 4
"""Points of a value that is no more than special to a caller, and the default."""

_UNKNOWN = -2
"""Points where a caller may take the error value for the answer of the whole recursion."""

_CORRUPTING = frozenset(("wild-dereference", "wild-jump", "return-address"))
"""Faults that are often the late consequence of memory overwritten earlier, if no check found them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A function that becomes a region, with its result, the reasons, and all places that it was chosen from."""

    candidate: Candidate
    result: Result
    why: tuple[str, ...]
    considered: tuple[RescuePoint, ...] = ()


def choose(
    localization: Localization,
    reading: Reading,
    *,
    nets: bool = True,
    policy: Policy = "evidence",
    strategies: bool = False,
) -> list[Choice]:
    """The regions for one fault: the one that is meant to be rescued, then its safety nets from the inside out.

    A safety net is a function further out that becomes a region too: a fault that the error value causes in the caller
    is then rescued there. `nets` False leaves them out. `strategies`: something else than to return an error value may
    be done about the fault, if evidence speaks for it. Policies other than "evidence" take the function of the fault
    and no nets: they are there to compare with.
    """
    candidates = candidates_of(localization, reading.image)
    if not candidates:
        raise LocalizationError(
            "no frame of the report leads to a function that could be rescued",
            file=reading.image.path,
            hint="use --region",
        )
    if not localization.pinned:
        candidates = outside_of_library(localization, candidates, reading.image)
    if localization.pinned or policy != "evidence":
        return [_given(localization, reading, candidates[0], policy)]
    in_cycle = cycle(candidates) if localization.fault_class == "stack-exhaustion" else []
    around = candidates[candidates.index(in_cycle[-1]) + 1 :] if in_cycle else []
    rated = _of_cycle(in_cycle, around, reading) if in_cycle else _climb(candidates, reading)
    best = _best(rated)
    why: tuple[str, ...] = (_place(localization, best.candidate),)
    if in_cycle:
        why = best.reasons[:2] if best is rated[0] else (best.reasons[0], *(_passed(r) for r in rated[:1]))
    else:
        why += tuple(_passed(r) for r in rated[: rated.index(best)])
    chosen = Choice(best.candidate, _result(reading, best), why)
    inside = in_cycle[-1] if best.candidate in in_cycle else best.candidate
    outer = candidates[candidates.index(inside) + 1 :]
    added = _nets(localization, chosen, outer, reading) if nets else []
    instead = _instead(localization, reading, candidates, rated[0], best) if nets and strategies else ()
    if instead and rated[0].result is not None:
        if best is not rated[0]:
            said = (
                f"safety net: the best function to return from, for what {rated[0].candidate.function} cannot leave out"
            )
            added = [Choice(chosen.candidate, chosen.result, (said,)), *added]
            best = rated[0]
        result = replace(rated[0].result, rules=(*rated[0].result.rules, *instead))
        chosen = Choice(best.candidate, result, (_place(localization, best.candidate), instead[0].why))
    return [replace(chosen, considered=_considered(rated, best, added)), *added]


def _instead(
    localization: Localization, reading: Reading, candidates: Sequence[Candidate], innermost: Rated, best: Rated
) -> tuple[AnyRule, ...]:
    """What is done about the fault in the innermost function, in place of a return from it or one further out."""
    if innermost.result is None or innermost.candidate is not candidates[0]:
        return ()
    if innermost.candidate.frame.index == 0:
        repeats = innermost.result.repeats and innermost is not best
        return left_out(localization.fault_class or "", repeats=repeats)
    return () if innermost.hazardous else library_call(localization, reading, candidates)


def _given(localization: Localization, reading: Reading, candidate: Candidate, policy: Policy) -> Choice:
    """The function that the user named, or that a simple policy takes."""
    if policy == "minus-one":
        said = "-1, whatever the function is"
        result = Result("integer", -1, (said,), candidates=(ValueCandidate(value=-1, score=1, evidence=(said,)),))
    elif policy == "types":
        result = by_type(reading, candidate.function, candidate.sites)
    else:
        result = mine(reading, candidate.function, candidate.sites, candidate.inside)
    evidence = localization.evidence
    why = tuple(e for e in evidence if e.startswith("--")) or evidence[-1:]
    return Choice(candidate, result, why, (_point(candidate, "chosen", None, why),))


def _result(reading: Reading, rated: Rated) -> Result:
    return rated.result or mine(reading, rated.candidate.function, rated.candidate.sites, rated.candidate.inside)


# The place


def _climb(candidates: Sequence[Candidate], reading: Reading) -> list[Rated]:
    """Ratings from the fault outwards, one for each function."""
    rated: list[Rated] = []
    tried: set[int] = set()
    inner: int | None = None
    main = reading.image.main
    for candidate in candidates:
        behind, inner = inner, candidate.sites[0].behind if candidate.sites else None
        # An outer activation of a function has the same code behind its call more often than not.
        if candidate.function.entry in tried:
            continue
        if len(tried) > _MAXIMUM_CLIMB and any(not r.hazardous for r in rated):
            break
        tried.add(candidate.function.entry)
        is_main = main is not None and main.entry == candidate.function.entry
        if not is_main and not reading.image.may_return(candidate.function):
            rated.append(Rated(candidate, None, None, ("it never returns",)))
            continue
        result = mine(reading, candidate.function, candidate.sites, candidate.inside)
        rated.append(rate(reading, candidate, result, outwards=len(rated), inner=behind))
    return rated


def _of_cycle(in_cycle: Sequence[Candidate], around: Sequence[Candidate], reading: Reading) -> list[Rated]:
    """Ratings of the functions of a recursion, and of those around it; the first is the best if nothing is against it.

    Best is the function that is called from within the recursion nearest its outermost end. Its rescue rolls back to
    its outermost activation, so one error value ends the whole recursion; and its caller is a function of the recursion
    that also handles nested elements, rather than the outer code that expects a whole one. But a loop that does not
    look at the result goes on with the rest of the same input, and exhausts the stack again for each part of it.
    """
    order = list(dict.fromkeys(c.function.entry for c in reversed(in_cycle)))
    inner = order[1:] or order
    said = f"{len(order)} functions take part in the recursion" if len(order) > 1 else "it calls itself"
    found = []
    for number, entry in enumerate(inner):
        candidate = next(c for c in reversed(in_cycle) if c.function.entry == entry)
        result = mine(reading, candidate.function, candidate.sites, candidate.inside)
        where = "called from its outermost function" if len(order) > 1 else "nothing else takes part in it"
        where = where if number == 0 else f"{number} call{'s' if number > 1 else ''} further in"
        rated = rate(reading, candidate, result, outwards=number, inner=None)
        if not result.handled and result.counted is None:
            text = f"{_UNKNOWN} what its caller makes of the result, with which the whole recursion ends, is not known"
            rated = replace(rated, score=(rated.score or 0) + _UNKNOWN, reasons=(*rated.reasons, text))
        found.append(_of_input(reading, rated, (said, where)))
    known = {c.function.entry for c in in_cycle}
    outer = [c for c in around if c.function.entry not in known and reading.image.may_return(c.function)]
    for number, candidate in enumerate(outer[:_AROUND], 1):
        result = mine(reading, candidate.function, candidate.sites, candidate.inside)
        rated = rate(reading, candidate, result, outwards=number, inner=None)
        found.append(_of_input(reading, rated, ("around the recursion",)))
    return found


def _of_input(reading: Reading, rated: Rated, said: tuple[str, ...]) -> Rated:
    """A rating, less where the loop around the call would go on with the rest of the input that was too deep."""
    result = rated.result
    score, reasons = rated.score or 0, (*said, *rated.reasons)
    if result is not None and result.kind == "void" and _in_loop(reading, rated.candidate):
        score += _AGAIN
        reasons = (*reasons, f"{_AGAIN} a loop that does not look at the result would go on with the rest of the input")
    return Rated(rated.candidate, result, score, reasons)


def _best(rated: Sequence[Rated]) -> Rated:
    """The highest score, of equals the innermost; where nothing can be a place, the outermost frame."""
    usable = [r for r in rated if r.score is not None]
    return max(usable, key=lambda r: r.score or 0) if usable else rated[-1]


def _place(localization: Localization, candidate: Candidate) -> str:
    if candidate.frame is localization.frames[localization.start]:
        return localization.evidence[-1]
    if candidate.frame.index < 0:
        return "main, because no frame of the report leads to a function: its rescue ends the program in good order"
    return f"frame {candidate.frame.index} of the report"


def _passed(rated: Rated) -> str:
    """Why a function further in was not taken, in one sentence."""
    bad = [r for r in rated.reasons if r[:1] != "+"]
    return f"{rated.candidate.function}: {'; '.join(bad or rated.reasons)}"


def _in_loop(reading: Reading, candidate: Candidate) -> bool:
    """Whether the active call of a function lies in a loop."""
    return bool(candidate.sites) and in_loop(reading, candidate.sites[0])


# Safety nets


def _nets(localization: Localization, chosen: Choice, outer: Sequence[Candidate], reading: Reading) -> list[Choice]:
    """The caller; and, where little speaks for the rescue to go well, two more further out.

    One is what the program's outermost loop calls, the part that handles one piece of input: to return from it is to go
    on with the next. The other is the outermost function of this file.
    """
    image = reading.image
    main = image.main.entry if image.main is not None else None
    taken = {chosen.candidate.function.entry}

    def usable(candidate: Candidate) -> bool:
        entry = candidate.function.entry
        certain = not candidate.frame.guess or chosen.candidate.frame.guess  # a net that is not entered costs nothing
        return entry not in taken and (entry == main or (certain and image.may_return(candidate.function)))

    found: list[Choice] = []

    def add(candidate: Candidate | None, why: str) -> None:
        if candidate is not None:
            taken.add(candidate.function.entry)
            result = mine(reading, candidate.function, candidate.sites, candidate.inside)
            found.append(Choice(candidate, result, (f"safety net: {why}",)))

    add(*_for_its_callers(chosen, [c for c in outer if usable(c)], reading))
    doubt = _doubt(localization, chosen)
    if not doubt and chosen.result.kind == "void" and any(_in_loop(reading, c) for c in (chosen.candidate, *outer)):
        doubt = "a loop around it may wait for what a call that cannot report an error has not done"
    if doubt:
        looped = next((c for c in reversed(outer) if usable(c) and _in_loop(reading, c)), None)
        add(looped, f"the outermost function that a loop calls, because {doubt}")
        last = next(filter(usable, reversed(outer)), None)
        add(last, f"the outermost function of this file in the backtrace, because {doubt}")
    return found


def _for_its_callers(chosen: Choice, outer: Sequence[Candidate], reading: Reading) -> tuple[Candidate | None, str]:
    """The nearest function further out whose own error value does not cause the next fault; else the nearest."""
    said = f"a caller of {chosen.candidate.function}, for faults that its error value causes"
    for passed, candidate in enumerate(outer[:_MAXIMUM_CLIMB]):
        if mine(reading, candidate.function, candidate.sites, candidate.inside).hazard is None:
            nearer = counted(passed, "nearer one")
            return candidate, f"{said}; {nearer} would cause more of them by theirs" if passed else said
    return next(iter(outer), None), said


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
    if chosen.result.kind == "integer" and chosen.result.candidates[0].score <= _FAINT:
        return "next to nothing tells its error value from an answer"
    return None


# Explanations


def _considered(rated: Sequence[Rated], best: Rated, nets: Sequence[Choice]) -> tuple[RescuePoint, ...]:
    """Every place with its verdict, from the inside out."""
    why = {net.candidate.function.entry: net.why for net in nets}
    points = []
    for each in rated:
        entry = each.candidate.function.entry
        verdict: Literal["chosen", "net", "rejected"] = (
            "chosen" if each is best else "net" if entry in why else "rejected"
        )
        points.append(_point(each.candidate, verdict, each.score, (*each.reasons, *why.pop(entry, ()))))
    for net in nets:
        if net.candidate.function.entry in why:
            points.append(_point(net.candidate, "net", None, net.why))
    return tuple(points)


def _point(
    candidate: Candidate, verdict: Literal["chosen", "net", "rejected"], score: int | None, reasons: tuple[str, ...]
) -> RescuePoint:
    function = candidate.function
    return RescuePoint(
        address=function.entry, symbol=function.symbol, frame=candidate.frame.index, verdict=verdict, score=score,
        reasons=reasons,
    )  # fmt: skip
