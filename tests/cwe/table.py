"""What a campaign over generated programs found, as text."""

from __future__ import annotations

from collections.abc import Sequence

from cwe.judging import Verdict

_COLUMNS = ("CWE", "generated", "crash natively", "survived", "good outcome", "good variants identical")
_SANITIZED = ("seen by ASan only", "caught")
"""Further columns, where AddressSanitizer was asked about what does not crash natively."""


def complete(verdict: Verdict) -> bool:
    """Nothing is to be said about it: it does not crash natively, or everything is as it should be."""
    if verdict.sanitized and not verdict.caught:
        return False
    return not verdict.unusable and (not verdict.fault or (verdict.survived and verdict.outcome and verdict.good))


def row(verdict: Verdict) -> str:
    """One line on a program for which something is not as it should be."""
    if verdict.unusable:
        return f"{verdict.name}: unusable: {verdict.unusable}"
    if verdict.sanitized:
        return f"{verdict.name}: {verdict.sanitized}, seen by AddressSanitizer: NOT CAUGHT: {verdict.detail}"
    said = [
        "survived" if verdict.survived else "NOT SURVIVED",
        "" if verdict.outcome or not verdict.survived else "other outcome",
        "" if verdict.good else "GOOD DIFFERS",
    ]
    return f"{verdict.name}: {verdict.fault}: {', '.join(filter(None, said))}: {verdict.detail}"


def _counts(label: str, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    crash = [verdict for verdict in verdicts if verdict.fault]

    def of(attribute: str) -> str:
        hits = sum(bool(getattr(verdict, attribute)) for verdict in crash)
        return f"{hits:,} ({100 * hits / len(crash):.1f} %)" if crash else "0"

    seen = [verdict for verdict in verdicts if verdict.sanitized]
    more = (f"{len(seen):,}", f"{sum(verdict.caught for verdict in seen):,}")
    return (label, f"{len(verdicts):,}", f"{len(crash):,}", of("survived"), of("outcome"), of("good"), *more)


def _rows(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    usable = [verdict for verdict in verdicts if not verdict.unusable]
    by_cwe = [
        _counts(f"CWE-{cwe}", [verdict for verdict in usable if verdict.cwe == cwe])
        for cwe in sorted({verdict.cwe for verdict in usable})
    ]
    rows = [(*_COLUMNS, *_SANITIZED), *by_cwe, _counts("all", usable)]
    asked = any(verdict.sanitized for verdict in usable)
    return rows if asked else [row[: len(_COLUMNS)] for row in rows]


def table(verdicts: Sequence[Verdict]) -> str:
    """For the terminal, with what was not usable and how long it took."""
    rows = _rows(verdicts)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    unusable = sum(bool(verdict.unusable) for verdict in verdicts)
    seconds = sum(verdict.seconds for verdict in verdicts)
    return "\n".join([*lines, "", f"{unusable} unusable; {seconds / max(len(verdicts), 1):.2f} s per program"])


def markdown(verdicts: Sequence[Verdict]) -> str:
    """For docs/cwe.md."""
    head, *rows = _rows(verdicts)
    rows = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
