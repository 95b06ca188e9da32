"""The evidence miner: which values a function could return when it is rescued, each with what speaks for it.

Sources: the declared type (DWARF) and the name; the tests that callers make, and where each side of them leads; what
other callers do; the constants that the function itself returns. The points are in docs/plan.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stemrw.documents.evidence import ReturnKind, ValueCandidate
from stemrw.documents.rules import AnyRule
from stemrw.image import Function, ResultType
from stemrw.plan._besides import besides
from stemrw.plan._calls import (
    Site,
    calls_again_at_once,
    other_sites,
    takes_double,
    uses,
)
from stemrw.plan._consequence import End, consequences
from stemrw.plan._exits import Constants, Exits, exits, returned_constants
from stemrw.plan._flow import Sighting, Use, follow
from stemrw.plan._names import said_by_name
from stemrw.plan._outcome import Outcome, outcome
from stemrw.plan._reading import Reading
from stemrw.plan._thread import starts_thread
from stemrw.text import counted

_SIGN_CONDITIONS = ("js", "jns", "sets", "setns", "jl", "jge", "setl", "setge", "cmovs", "cmovns")
_ZERO_CONDITIONS = ("je", "jne", "sete", "setne", "cmove", "cmovne")
_SMALL = range(-256, 257)
"""Constants that may be error values; what is outside is data."""
_MOST_CONSTANTS = 4
_SUMS = frozenset("add sub inc dec lea imul mul shl sal adc sbb cvtsi2sd cvtsi2ss".split())
"""Instructions that calculate with a number; not those that collect flags."""
_UNCERTAIN = 3
"""Points of a test that says that the value matters, but not which one is an error."""
_OTHERS = 12
"""Other calls whose branches are walked."""


@dataclass(frozen=True, slots=True)
class Result:
    """What to return, why, and how sure that is.

    `hazard` says why the caller cannot live with this result (None: nothing speaks against it); `handled` is True where
    the caller looks at the result before it relies on it, so an error value leads to its own error handling; `counted`
    says where it calculates with the result on every way instead, so that an error value is an answer like any other;
    `ends_thread`: a thread ends when it returns; `ignored`: the caller does not look at the result at all;
    `repeats`: it would make the same call again at once, and so for ever.
    """

    kind: ReturnKind
    value: int
    evidence: tuple[str, ...]
    handled: bool = False
    hazard: str | None = None
    counted: str | None = None
    ends_thread: bool = False
    ignored: bool = False
    repeats: bool = False
    candidates: tuple[ValueCandidate, ...] = ()
    outcome: Outcome = field(default_factory=lambda: Outcome((), ()))
    rules: tuple[AnyRule, ...] = ()
    """For what the caller reads besides the result."""


@dataclass(slots=True)
class _Tally:
    """Points and reasons, by (kind, value)."""

    points: dict[tuple[ReturnKind, int], list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, kind: ReturnKind, value: int, points: int, why: str) -> None:
        self.points.setdefault((kind, value), []).append((points, why))

    def integers(self) -> list[int]:
        return [value for kind, value in self.points if kind == "integer"]

    def reasons(self, kind: ReturnKind, value: int) -> tuple[str, ...]:
        """What speaks for a value, the strongest first."""
        known = sorted(self.points[kind, value], key=lambda reason: -reason[0])
        return tuple(why for points, why in known if points > 0) or (known[0][1],)

    def ranked(self) -> list[ValueCandidate]:
        """The best first; of equals the one that was thought of first."""
        found = []
        for (kind, value), reasons in self.points.items():
            ordered = sorted(reasons, key=lambda reason: -reason[0])
            said = tuple(f"{points:+d} {why}" if points else why for points, why in ordered)
            found.append(
                ValueCandidate(kind=kind, value=value, score=sum(points for points, _ in reasons), evidence=said)
            )
        return sorted(found, key=lambda c: -c.score)


def mine(reading: Reading, function: Function, sites: Sequence[Site], inside: int | None = None) -> Result:
    """The result of `function`; `sites` are the active call and the calls around it, innermost first (may be empty).

    `inside` is the point that it had reached: the fault, or the address behind the call towards it.
    """
    main = reading.image.main
    if main is not None and main.entry == function.entry:
        said = "main: the exit status that says failure"
        only = ValueCandidate(value=1, score=1, evidence=(said,))
        return Result("integer", 1, (said,), handled=True, candidates=(only,))
    thread = starts_thread(reading, function) if not sites else None
    if thread is not None:
        said = f"a thread starts with it, for {thread}: NULL for whoever waits for its end"
        only = ValueCandidate(value=0, score=1, evidence=(said,))
        return Result("integer", 0, (said,), handled=True, ends_thread=True, candidates=(only,))
    seen = uses(reading, sites)
    tally = _Tally()
    constants = returned_constants(reading, function)
    declared = reading.image.result_type(function)
    certain = _declared(tally, declared, function)
    if not certain and sites and takes_double(reading, sites[0]):
        tally.add("double", 0, 8, f"the caller takes a floating-point result at {sites[0].behind:#x}: 0.0")
        certain = True
    if not certain:
        found = exits(reading, function, constants, inside)
        _code(tally, reading, function, sites, seen, constants, found, declared)
    outcomes = {value: outcome(reading, sites, value) for value in tally.integers()} if sites else {}
    _branches(tally, outcomes)
    ranked = tally.ranked()
    best = ranked[0]
    value = _signed(best.value)
    came = outcomes.get(value, Outcome((), ())) if best.kind == "integer" else Outcome((), ())
    dropped = bool(seen) and all(s.use is Use.DROPPED for s in seen)
    handled = best.kind == "double" or dropped or bool(_tests(seen))
    hazard = _hazard(reading, sites, best.kind, came)
    return Result(
        best.kind, value, tally.reasons(best.kind, value), handled=handled, candidates=tuple(ranked), outcome=came,
        hazard=hazard, repeats=hazard is not None and came.bad(End.DEREFERENCED) is None,
        counted=_counted(seen) if best.kind == "integer" else None,
        ignored=dropped,
        rules=besides(
            reading, function, sites[0] if sites else None, value, far=came.far,
            returned=best.kind == "integer" and value in constants,
        ),
    )  # fmt: skip


def by_type(reading: Reading, function: Function, sites: Sequence[Site]) -> Result:
    """The simple way, to compare with: the declared type, else the width of what the active caller tests."""
    tally = _Tally()
    if not _declared(tally, reading.image.result_type(function), function) and not tally.points:
        if sites and takes_double(reading, sites[0]):
            tally.add("double", 0, 8, "the caller takes a floating-point result: 0.0")
        seen = uses(reading, sites, 0)
        for sighting in _tests(seen)[:1]:
            signed = sighting.constant == -1 or sighting.condition in _SIGN_CONDITIONS or sighting.size == 4
            said = f"the caller tests {sighting.size} bytes of it ({sighting.instruction})"
            tally.add("integer", -1 if signed else 0, 6, said)
        if seen and all(s.use is Use.DROPPED for s in seen):
            tally.add("void", 0, 7, "the caller does not look at the result")
        tally.add("integer", 0, 1, "the default")
    ranked = tally.ranked()
    best = ranked[0]
    value = _signed(best.value)
    return Result(best.kind, value, tally.reasons(best.kind, value), candidates=tuple(ranked))


# Types and names


def _declared(tally: _Tally, declared: ResultType | None, function: Function) -> bool:
    """What the declaration says; True where it leaves no choice."""
    if declared is None:
        named = said_by_name(function.symbol)
        if named is not None and named[0] == "void":
            tally.add("void", 0, 10, named[1])
            return True
        if named is not None:
            tally.add("integer", 0, 3, f"{named[1]}: false")
        return False
    where = f"DWARF: returns {declared.name or declared.kind}"
    match declared.kind:
        case "void":
            tally.add("void", 0, 10, f"{where}: nothing to return")
        case "double" | "float":
            tally.add("double", 0, 10, f"{where}: 0.0")
        case "pointer":
            tally.add("integer", 0, 10, f"{where}: NULL")
        case "aggregate" | "other":
            tally.add("integer", 0, 10, f"{where}: zero in the result registers")
        case "bool":
            tally.add("integer", 0, 4, f"{where}: false")
            tally.add("integer", 1, 0, f"{where}: true")
            return False
        case "unsigned":
            tally.add("integer", 0, 4, f"{where} (unsigned): 0")
            return False
        case "signed":
            tally.add("integer", -1, 5, f"{where} (signed): -1")
            return False
    return True


# Code


def _code(
    tally: _Tally,
    reading: Reading,
    function: Function,
    sites: Sequence[Site],
    seen: Sequence[Sighting],
    constants: Constants,
    found: Exits,
    declared: ResultType | None,
) -> None:
    """Tests of callers, constants of the function, and the default."""
    narrow = declared is not None and declared.kind == "bool"
    if not narrow:
        _own_constants(tally, constants)
    active = any(s.use is not Use.LOST for s in seen)
    for sighting in _tests(seen)[:1]:
        _test(tally, sighting, constants)
    others = other_sites(reading, function, sites)
    elsewhere = [s for site in others for s in follow(reading.code(site.caller), site.behind, "rax")]
    if active and seen and all(s.use is Use.DROPPED for s in seen) and declared is None:
        tally.add("void", 0, 7, "the caller does not look at the result")
    elif not active:
        known = [s for s in elsewhere if s.use is not Use.LOST]
        if known and all(s.use is Use.DROPPED for s in known) and declared is None:
            tally.add("void", 0, 5, "no caller looks at the result")
    _other_tests(tally, elsewhere, constants, alone=not active)
    _others_branches(tally, reading, others)
    unseen = all(s.use is Use.LOST for s in (*seen, *elsewhere))
    _status(tally, _tests(seen) or _tests(elsewhere), found, unseen=unseen)
    if any(s.use is Use.DEREFERENCED for s in (*seen, *elsewhere)):
        tally.add("integer", 0, 2, "it is used as an address: NULL")
    tally.add("integer", 0, 1, "the default: to most callers 0 is nothing, and as an address or index it harms least")
    tally.add("integer", -1, 0, "the usual error number")


def _tests(seen: Iterable[Sighting]) -> list[Sighting]:
    return [s for s in seen if s.use is Use.TESTED and s.instruction is not None]


def _special(sighting: Sighting, constants: Constants) -> tuple[int, int, str]:
    """The value that a test singles out, how certain that is (points), and why."""
    if sighting.constant == -1:
        return -1, 6, "-1 is special"
    if sighting.constant == 0 and sighting.condition in _SIGN_CONDITIONS:
        return -1, 6, "negative is special"
    if sighting.constant == 0 and sighting.condition in _ZERO_CONDITIONS:
        if sighting.size == 8:
            return 0, 6, "a pointer or size, NULL"
        if sighting.size == 4 and -1 in constants and 1 not in constants:
            return -1, 6, "not zero is special, and the function itself returns -1"
        return 0, 5 if sighting.size == 1 else _UNCERTAIN, "zero is special, or all else"
    return 0, _UNCERTAIN, "0"


def _test(tally: _Tally, sighting: Sighting, constants: Constants) -> None:
    value, points, why = _special(sighting, constants)
    condition = f"; {sighting.condition}" if sighting.condition else ""
    at = sighting.instruction.address if sighting.instruction is not None else 0
    tally.add("integer", value, points, f"the caller tests it ({at:#x}: {sighting.instruction}{condition}): {why}")


def _status(tally: _Tally, tests: Sequence[Sighting], found: Exits, *, unseen: bool) -> None:
    """Which side of a test for zero is the error, by what the function returns early and what at the end.

    `unseen`: nothing is known of what any caller does. Then this says no more than which value is not the usual one.
    """
    if unseen:
        for value in sorted(found.early & set(_SMALL) - {0}, key=abs) if 0 in found.late else ():
            tally.add("integer", value, 2, "early exits of the function return it, and 0 is what it returns at the end")
        return
    if not any(s.constant == 0 and s.size == 4 and s.condition in _ZERO_CONDITIONS for s in tests[:1]):
        return
    for value in sorted(found.early & set(_SMALL), key=abs):
        if value and 0 in found.late:
            tally.add("integer", value, 5, "early exits of the function return it, and 0 is what it returns at the end")
        elif not value and any(found.late):
            tally.add("integer", 0, 2, "early exits of the function return it, and not 0 is what it returns at the end")
    if found.alone and found.late == {0} and not any(found.early):
        tally.add("integer", -1, 5, "0 is all that the function returns from there on: it is success")


def _other_tests(tally: _Tally, elsewhere: Sequence[Sighting], constants: Constants, *, alone: bool) -> None:
    """The value that most other callers single out; `alone`: nothing is known of the active one."""
    tests = _tests(elsewhere)
    votes = Counter(_special(s, constants)[:2] for s in tests if _special(s, constants)[1] > _UNCERTAIN or alone)
    for (value, certain), count in votes.most_common(1):
        points = certain - 2 if alone else 1
        said = f"{count} of {counted(len(tests), 'test')} of other callers single it out"
        tally.add("integer", value, points + (count > 2), said)


def _own_constants(tally: _Tally, constants: Constants) -> None:
    """What the function itself returns on its early exits."""
    small = {value: len(places) for value, places in constants.items() if value in _SMALL}
    for value, count in sorted(small.items(), key=lambda x: -x[1])[:_MOST_CONSTANTS]:
        times = "once" if count == 1 else f"{count} times"
        tally.add("integer", value, int(value < 0), f"early exits of the function return it {times}")
    if small and set(small) <= {0, -1} and -1 in small:
        tally.add("integer", -1, 2, "it returns nothing else but 0: 0 is success")


# Branches


def _branches(tally: _Tally, outcomes: dict[int, Outcome]) -> None:
    """Where each value leads in the active caller: the branch that looks like error handling tells the error value."""
    if not outcomes:
        return
    least = min(o.likeness for o in outcomes.values())
    for value, came in outcomes.items():
        bad = came.bad(End.DEREFERENCED)
        if bad is not None and bad.at is not None:
            where = f"{bad.at.address:#x}: {bad.at}"
            tally.add("integer", value, -12, f"would be used as an address without a test ({where})")
        index = came.bad(End.INDEXED)
        if index is not None and index.at is not None:
            tally.add("integer", value, -3, f"would be used as an index ({index.at.address:#x}: {index.at})")
        test = came.tested
        more = min(6, round(2 * (came.likeness - least)))
        if test is not None and test.test is not None and more > 0:
            tally.add(
                "integer", value, more, f"the test at {test.test.address:#x} leads it to error handling: {_like(came)}"
            )


def _like(came: Outcome) -> str:
    """What makes a branch look like error handling, in words."""
    words = []
    if came.reported is not None:
        words.append(came.reported)
    for ending in came.near:
        if ending.end is End.RETURNED and ending.short and ending.value is not None:
            words.append("returns it at once" if ending.own else f"returns {_signed(ending.value)} at once")
        elif ending.end in (End.STOPPED, End.JUMPED):
            words.append(str(ending.end))
        elif ending.end is End.LOOPED and ending.short:
            words.append("goes on with the loop at once")
        if ending.frees and ending.short:
            words.append("releases what it has")
    return ", ".join(dict.fromkeys(words)) or "it does less than the other side"


def _signed(value: int) -> int:
    """A returned pattern as a person writes it: results of 32 bits come with a clear upper half."""
    if value >> 32 == 0 and value >> 31:
        return value - (1 << 32)
    return value - (1 << 64) if value >> 63 else value


def _others_branches(tally: _Tally, reading: Reading, others: Sequence[Site]) -> None:
    """Where other callers lead each value: the one that most of them treat as an error."""
    votes: Counter[int] = Counter()
    for site in others[:_OTHERS]:
        like = {
            value: Outcome(tuple(consequences(reading, site.caller, site.behind, value)), ()).likeness
            for value in tally.integers() or [0, -1]
        }
        if like and max(like.values()) >= min(like.values()) + 1:
            best = max(like.values())
            votes.update(value for value, points in like.items() if points == best)
    for value, count in votes.items():
        if count > 1 or len(others) == 1:
            tally.add("integer", value, 1 + (count > 3), f"{count} other calls lead it to error handling")


# What speaks against a result


def _counted(seen: Sequence[Sighting]) -> str | None:
    """The first place where the result enters a sum or the like, if it does so wherever anything is done with it."""
    used = [s.instruction for s in seen if s.use not in (Use.LOST, Use.DROPPED)]
    sums = [i for i in used if i is not None and i.mnemonic in _SUMS]
    return f"{sums[0].address:#x}: {sums[0]}" if sums and len(sums) == len(used) else None


def _hazard(reading: Reading, sites: Sequence[Site], kind: ReturnKind, came: Outcome) -> str | None:
    if not sites or kind == "double":
        return None
    bad = came.bad(End.DEREFERENCED)
    if bad is not None and bad.at is not None:
        return f"the result is used as an address without a test ({bad.at.address:#x}: {bad.at})"
    if calls_again_at_once(reading, sites[0]):
        return f"the caller would call again at once, all unchanged, and so for ever (behind {sites[0].behind:#x})"
    return None
