"""Rescue points: how well each function of the backtrace would do as the place to return from, in points and words.

The points are in docs/plan.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from stemrw.plan._consequence import End
from stemrw.plan._effects import irreversible
from stemrw.plan._frames import Candidate
from stemrw.plan._mine import Result
from stemrw.plan._reading import Reading

_OUTWARDS = -3
"""Each function further out: more of the program's work is lost, and more of it is emulated."""
_COUNTED = -4
"""The caller takes any value for an answer: one function further out that is known to be checked is better."""
HAZARD = -30
"""The caller cannot live with the error value."""


@dataclass(frozen=True, slots=True)
class Rated:
    """A candidate with its result, its points and the reasons; `score` None: it cannot be a place to return from."""

    candidate: Candidate
    result: Result | None
    score: int | None
    reasons: tuple[str, ...]

    @property
    def hazardous(self) -> bool:
        return self.result is None or self.result.hazard is not None


def rate(reading: Reading, candidate: Candidate, result: Result, *, outwards: int, inner: int | None) -> Rated:
    """Points of a function that returns.

    `outwards` counts the functions between it and the fault; `inner` is the address behind its call towards the fault.
    """
    reasons: list[tuple[int, str]] = []
    main = reading.image.main
    if outwards:
        text = f"{outwards} function{'s' if outwards > 1 else ''} further out: more work is lost, and more is emulated"
        reasons.append((_OUTWARDS * outwards, text))
    is_main = main is not None and candidate.function.entry == main.entry
    if is_main:
        reasons.append((-10, "main: to return from it ends the program"))
    if result.ends_thread:
        reasons.append((-5, "a thread starts with it: to return from it ends the thread, in good order"))
    if candidate.frame.guess:
        reasons.append((-6, "a guess: found on the stack, not unwound"))
    if result.hazard is not None:
        reasons.append((HAZARD, f"no good place: {result.hazard}"))
    if result.counted is not None:
        reasons.append((_COUNTED, f"the caller calculates with the result without a look at it ({result.counted})"))
    if result.handled:
        reasons.append((2, _how_handled(result, is_main=is_main)))
    reasons += _outcome(result)
    effects = irreversible(reading, candidate.function, inner)
    if effects and outwards:
        reasons.append((-1, f"effects that are not undone may come before the fault: {', '.join(effects[:4])}"))
    return Rated(candidate, result, sum(p for p, _ in reasons), tuple(f"{p:+d} {why}" for p, why in reasons))


def _how_handled(result: Result, *, is_main: bool) -> str:
    """Why no caller takes the error value for an answer."""
    if is_main:
        return "its result is the exit status, which says that something failed"
    if result.ignored or result.kind == "void":
        return "the caller expects no result, and so takes none for an answer"
    if result.ends_thread:
        return "whoever waits for the end of the thread gets NULL"
    return "the caller looks at the result before it relies on it"


def _outcome(result: Result) -> list[tuple[int, str]]:
    """What the callers make of the error value."""
    came, found = result.outcome, []
    if came.reported is not None:
        found.append((1, f"the caller reports the error: {came.reported}"))
    loops, stops = came.share(End.LOOPED), came.share(End.STOPPED)
    if loops > 0:
        found.append((2 if loops >= 0.5 else 1, f"a loop around the call goes on ({loops:.0%} of the ways behind it)"))
    if stops >= 0.5:
        found.append((-4 if stops > 0.9 else -2, f"the program ends ({stops:.0%} of the ways behind it)"))
    return found
