"""Checks that run the file: a crash replayed, ordinary work compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from stemrw.documents.verification import Check
from stemrw.verify._run import Ended, Runner

_SHOWN = 60
"""Bytes of a differing line that are shown."""


def replay(command: str, runner: Runner) -> Check:
    """The original dies of the command, the hardened file lives on and has recorded why."""
    original, hardened = runner.original(command), runner.hardened(command)
    complaints, notes = [], [f"the original {original}", f"hardened, it {hardened}"]
    if hardened.died:
        complaints.append(f"the hardened file {hardened}")
    elif not hardened.recoveries:
        complaints.append("no recovery was recorded")
    if not original.died:
        complaints.append(f"the original {original}: the replay proves nothing")
    notes += _recoveries(hardened)
    outcome = "failed" if complaints else "passed"
    return Check(group="replay", name=command, outcome=outcome, details=(*complaints, *([] if complaints else notes)))


def check(command: str, runner: Runner) -> Check:
    """Standard output, standard error and status are the original's.

    What differs between two runs of the original cannot be compared; if that is everything, the check is skipped.
    """
    first, second = runner.original(command), runner.original(command)
    hardened = runner.hardened(command)
    complaints, notes, compared = [], [], 0
    for what, a, b, c in (
        ("exit status", first.status, second.status, hardened.status),
        ("standard output", first.stdout, second.stdout, hardened.stdout),
        ("standard error", first.stderr, second.stderr, hardened.stderr),
    ):
        if a != b:
            notes.append(f"{what} is not compared: it differs between two runs of the original")
            continue
        compared += 1
        if c != a and isinstance(a, bytes) and isinstance(c, bytes):
            complaints.append(f"{what}: {_first_difference(a, c)}")
        elif c != a:
            complaints.append(f"the original {first}, hardened it {hardened}")
    notes += _recoveries(hardened)
    if complaints:
        return Check(group="check", name=command, outcome="failed", details=(*complaints, *notes))
    return Check(group="check", name=command, outcome="passed" if compared else "skipped", details=tuple(notes))


def _recoveries(ended: Ended) -> Iterator[str]:
    counted = Counter((event["class"], event["pc"], event["region"]) for event in ended.recoveries)
    for (fault_class, pc, region), count in counted.items():
        times = f"{count} times" if count > 1 else "once"
        yield f"{times} a fault of class {fault_class} at {pc} was undone, region {region}"


def _first_difference(expected: bytes, found: bytes) -> str:
    a, b = expected.splitlines(), found.splitlines()
    for i, (line, other) in enumerate(zip(a, b, strict=False), 1):
        if line != other:
            return f"line {i} is {_quoted(other)} instead of {_quoted(line)}"
    if len(a) != len(b):
        longer, what = (a, "is missing") if len(a) > len(b) else (b, "is new")
        at = min(len(a), len(b))
        return f"line {at + 1}, {_quoted(longer[at])}, {what}"
    return "line ends differ"


def _quoted(line: bytes) -> str:
    text = line[:_SHOWN].decode("utf-8", "replace")
    return repr(text) + ("…" if len(line) > _SHOWN else "")
