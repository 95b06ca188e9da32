"""Options that several commands have: what a file is to be hardened against, and how."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Guard(StrEnum):
    """What is guarded; the values are those of `stemrw.plan`."""

    report = "report"
    heap = "heap"
    stack = "stack"
    none = "none"


Faults = Annotated[
    list[Path] | None,
    typer.Option("--fault", metavar="REPORT", help="Fault report, of `stemrw run` or by hand. Repeatable."),
]
Regions = Annotated[
    list[str] | None,
    typer.Option(
        "--region",
        metavar="SYMBOL|ADDR|A..B",
        help="Make this function the region, whatever the report leads to. Repeatable where there is no report. "
        "A..B: of its code from A to B, what faults is skipped.",
    ),
]
Requirements = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="'ADDR: EXPR'",
        help="What must hold before the instruction at ADDR, or it is a fault: '0x4d6e: rdi < 64'. Repeatable.",
    ),
]
Frame = Annotated[
    int | None,
    typer.Option(
        "--frame", metavar="N", min=0, help="Make the function of this frame of the report the region (0: crash)."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Accept a report about another build (build-id) of the file.")]
BySymbol = Annotated[
    bool,
    typer.Option(
        "--by-symbol",
        help="The report is about another build (with a sanitizer, say): go by the names of functions.",
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
    typer.Option("--return", metavar="VALUE", help="What a rescue returns: -1, 0x7f, or 1.5 for a double."),
]
PolicyName = Annotated[
    str,
    typer.Option(
        "--policy",
        metavar="evidence|types|minus-one",
        help="How place and value are chosen. The last two take the function of the fault and are there to compare "
        "with: by its type, or always -1.",
    ),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="[FUNCTION=]AMOUNT",
        help="What one entry of the region may use: 5000000 (ticks), 500ms or 2s of CPU time, 64MiB. Repeatable.",
    ),
]
ProfileFile = Annotated[
    Path | None,
    typer.Option("--profile", metavar="FILE", help="Budgets that `stemrw profile` has learned of a good workload."),
]
GuardChoice = Annotated[
    Guard,
    typer.Option(
        "--guard",
        help="What to guard: what the reports ask for (heap blocks between inaccessible pages, where functions "
        "return to), beside that all heap blocks of FILE (heap), or all returns and indirect branches (stack); or "
        "none.",
    ),
]
Errno = Annotated[
    str | None, typer.Option("--errno", metavar="NAME|NUMBER", help="What a rescue sets errno to: ENOENT, or 2.")
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--out",
        metavar="ARG[+OFFSET]:SIZE=VALUE",
        help="What a rescue writes through a pointer argument: 2:8=0 clears 8 bytes where the third one points to. "
        "Repeatable.",
    ),
]
Escalation = Annotated[
    bool,
    typer.Option(
        "--escalate/--no-escalate",
        help="Rescue a fault that repeats without end in the next region further out.",
    ),
]
StrategyName = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help="What is done about a fault: return (an error value, the default), oblivious (leave the access out), "
        "retry (once more, in roomier memory), end-thread, end-child, die.",
    ),
]
Resume = Annotated[
    str | None,
    typer.Option("--resume", metavar="ADDR", help="With --region A..B: where the function goes on. Default: B."),
]
Registers = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="REGISTER=N", help="With --region A..B: what a register is then. Repeatable."),
]
