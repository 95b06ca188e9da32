"""Options that several commands have: what a file is to be hardened against, and how."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_AGAINST = "What to harden against"
_RESCUE = "What a rescue does"
_LIMITS = "What is limited and guarded"


class Guard(StrEnum):
    """What is guarded; the values are those of `stemrw.plan`."""

    report = "report"
    heap = "heap"
    stack = "stack"
    none = "none"


Faults = Annotated[
    list[Path] | None,
    typer.Option(
        "--fault",
        metavar="REPORT",
        help="Fault report, of `stemrw run` or by hand. Repeatable.",
        rich_help_panel=_AGAINST,
    ),
]
Regions = Annotated[
    list[str] | None,
    typer.Option(
        "--region",
        metavar="FUNCTION|A..B",
        help="Make this function (symbol or address) the region, whatever the report leads to. Repeatable where there "
        "is no report. A..B: of its code from A to B, what faults is skipped.",
        rich_help_panel=_AGAINST,
    ),
]
Requirements = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="'ADDR: EXPR'",
        help="What must hold before the instruction at ADDR, or it is a fault: '0x4d6e: rdi < 64'. Repeatable.",
        rich_help_panel=_AGAINST,
    ),
]
Frame = Annotated[
    int | None,
    typer.Option(
        "--frame",
        metavar="N",
        min=0,
        help="Make the function of this frame of the report the region (0: crash).",
        rich_help_panel=_AGAINST,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Accept a report about another build (build-id) of the file.", rich_help_panel=_AGAINST
    ),
]
BySymbol = Annotated[
    bool,
    typer.Option(
        "--by-symbol",
        help="The report is about another build (with a sanitizer, say): go by the names of functions.",
        rich_help_panel=_AGAINST,
    ),
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        "--manifest", metavar="FILE", help="Manifest of a FILE that is hardened already. Default: FILE.manifest.json"
    ),
]
ReturnValue = Annotated[
    str | None,
    typer.Option(
        "--return",
        metavar="VALUE",
        help="What a rescue returns: -1, 0x7f, or 1.5 for a double.",
        rich_help_panel=_RESCUE,
    ),
]
PolicyName = Annotated[
    str,
    typer.Option(
        "--policy",
        metavar="NAME",
        help="How place and value are chosen: evidence, types, minus-one. The last two take the function of the fault "
        "and are there to compare with: by its type, or always -1.",
        rich_help_panel=_RESCUE,
    ),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="AMOUNT",
        help="What one entry of the region may use: 5000000 (ticks), 500ms or 2s of CPU time, 64MiB; "
        "FUNCTION=AMOUNT: of another region. Repeatable.",
        rich_help_panel=_LIMITS,
    ),
]
ProfileFile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        metavar="FILE",
        help="Budgets that `stemrw profile` has learned of a good workload.",
        rich_help_panel=_LIMITS,
    ),
]
GuardChoice = Annotated[
    Guard,
    typer.Option(
        "--guard",
        metavar="NAME",
        help="What to guard: report, what the reports ask for (heap blocks between inaccessible pages, where functions "
        "return to), beside that all heap blocks of FILE (heap), or all returns and indirect branches (stack); or "
        "none.",
        rich_help_panel=_LIMITS,
    ),
]
Errno = Annotated[
    str | None,
    typer.Option(
        "--errno", metavar="NAME|NUMBER", help="What a rescue sets errno to: ENOENT, or 2.", rich_help_panel=_RESCUE
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--out",
        metavar="ARG:SIZE=VALUE",
        help="What a rescue writes through a pointer argument: 2:8=0 clears 8 bytes where the third one points to, "
        "2+16:8=0 16 bytes behind. "
        "Repeatable.",
        rich_help_panel=_RESCUE,
    ),
]
NoEscalation = Annotated[
    bool,
    typer.Option(
        "--no-escalate",
        help="Do not rescue a fault that repeats without end in the next region further out.",
        rich_help_panel=_RESCUE,
    ),
]
StrategyName = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help="What is done about a fault: return (an error value, the default), oblivious (leave the access out), "
        "retry (once more, in roomier memory), end-thread, end-child, die.",
        rich_help_panel=_RESCUE,
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="ADDR",
        help="With --region A..B: where the function goes on. Default: B.",
        rich_help_panel=_RESCUE,
    ),
]
Registers = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="REGISTER=N",
        help="With --region A..B: what a register is then. Repeatable.",
        rich_help_panel=_RESCUE,
    ),
]
