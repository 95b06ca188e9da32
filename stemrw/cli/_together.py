"""Which options do not go together: those that contradict each other, and those that say nothing alone."""

from __future__ import annotations

from collections.abc import Collection

from stemrw.errors import UsageError

_NOTHING_RETURNED = "with it a fault is the original death, and nothing is returned"
_NOTHING_UNDONE = "with it nothing is undone when the budget is used up, and the program would go on as before"

CONTRADICTIONS: tuple[tuple[str, str, str, str], ...] = (
    ("--region", "--frame", "both say which function is the region", "give one of them"),
    ("--force", "--by-symbol", "one goes by the report's addresses, the other by none", "give one of them"),
    ("--policy types", "--return", "both say what is returned", "leave out --policy"),
    ("--policy minus-one", "--return", "both say what is returned", "leave out --policy"),
    ("--strategy die", "--return", _NOTHING_RETURNED, "leave one of them out"),
    ("--strategy die", "--errno", _NOTHING_RETURNED, "leave one of them out"),
    ("--strategy die", "--out", _NOTHING_RETURNED, "leave one of them out"),
    ("--strategy die", "--budget", _NOTHING_UNDONE, "leave one of them out"),
    ("--strategy die", "--profile", _NOTHING_UNDONE, "leave one of them out"),
)
"""Two options, why they do not go together, and what to do."""

NEEDS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("--frame", ("--fault",), "it counts in the backtrace of a report", "give --fault REPORT, or --region"),
    ("--force", ("--fault",), "it is about a report of another build", "give --fault REPORT, or leave it out"),
    ("--by-symbol", ("--fault",), "it is about a report of another build", "give --fault REPORT, or leave it out"),
    ("--resume", ("--region A..B",), "it is about a slice", "give --region A..B, or leave it out"),
    ("--set", ("--region A..B",), "it is about a slice", "give --region A..B, or leave it out"),
)
"""An option, others of which it needs one, why, and what to do."""


def check_together(given: Collection[str]) -> None:
    """`given` are the options that were given; choices by their value, such as "--strategy die".  Raises UsageError."""
    for one, other, why, hint in CONTRADICTIONS:
        if one in given and other in given:
            raise UsageError(f"{one} and {other} contradict each other: {why}", hint=hint)
    for option, needed, why, hint in NEEDS:
        if option in given and not any(each in given for each in needed):
            raise UsageError(f"{option} says nothing alone: {why}", hint=hint)
