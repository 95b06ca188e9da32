"""`stemrw profile`: what regions use while a good workload runs, as a measure for their budgets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemrw.cli import _choices as options
from stemrw.errors import UsageError
from stemrw.text import counted, printable

if TYPE_CHECKING:
    from stemrw.documents.profile import Profile

EPILOG = (
    "Example: stemrw profile bzip2 --fault report.json -- bzip2 -k large.tar, then "
    "stemrw patch bzip2 --fault report.json --profile bzip2.profile.json. "
    "Exit status: 0 measured and written; 1 written, but no good measure: the command failed, something was rescued, "
    "or no region was entered; 2 an error, and nothing was written."
)


def profile(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The program or library, hardened or not.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD…", help="The workload: it runs FILE.")],
    fault: options.Faults = None,
    region: Annotated[
        list[str] | None, typer.Option(metavar="SYMBOL|ADDR", help="Measure this function. Repeatable.")
    ] = None,
    require: options.Requirements = None,
    frame: options.Frame = None,
    multiple: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=1_000_000, help="The budget is so many times the highest that was seen."),
    ] = 10,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The profile; -: standard output. Default: ./NAME.profile.json"
        ),
    ] = None,
    manifest: options.Manifest = None,
    force: options.Force = False,
    by_symbol: options.BySymbol = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the profile (docs/budgets.md) instead of a table.")
    ] = False,
) -> None:
    """Learn from a good workload what budgets the regions of a file need.

    Measured are the regions that `patch` would make of the same options, and those that a hardened FILE has. A copy of
    FILE that counts runs in its place: where {} stands in CMD, or as its first word, which then names the program; a
    library is found before all others of its name. Counted is the most that one entry of each region uses, in all
    processes of CMD that end while it runs. The command keeps its standard streams.
    """
    from stemrw.cli._asked import Asked, planned
    from stemrw.cli._files import about, open_original, write_document
    from stemrw.cli._tables import show_text
    from stemrw.documents.plan import Plan
    from stemrw.image import Image
    from stemrw.localize import identity
    from stemrw.plan import file_rules, remembered
    from stemrw.profile import measure

    asked = Asked(
        faults=fault or (), regions=region or (), requirements=require or (), frame=frame, force=force,
        by_symbol=by_symbol,
    )  # fmt: skip
    output = output or Path(file.name + ".profile.json")
    to_pipe = str(output) == "-"
    if not to_pipe and (not output.resolve().parent.is_dir() or output.is_dir()):
        raise UsageError("the profile cannot be written there: no such folder", file=output, hint="-o names a file")
    elf, known = open_original(file, manifest)
    image = Image(elf, hardened_sha256=known.output.sha256 if known else None)
    if known is not None and not asked.given():
        regions = remembered(known)
        wanted = Plan(binary=identity(image), regions=regions, rules=file_rules(regions))
    elif asked.names_nothing:
        raise UsageError("nothing says what to measure", file=file, hint="give --fault REPORT or --region SYMBOL|ADDR")
    else:
        asked.check(file)
        wanted, _ = planned(asked, image, known)
    with about(file):
        names = list(dict.fromkeys((file.name.removesuffix(".hardened"), file.name)))
        found = measure(elf, wanted, command, names=names, home=file.parent, multiple=multiple)
    complaints = _complaints(found)
    if to_pipe or as_json:
        if not to_pipe:
            write_document(output, found.to_json())
        show_text(found.to_json())
        for complaint in complaints:
            print(f"stemrw: {complaint}", file=sys.stderr)
    else:
        write_document(output, found.to_json())
        _show(found, complaints, output)
    if not found.is_good:
        raise typer.Exit(1)


def _show(found: Profile, complaints: list[str], output: Path) -> None:
    from stemrw.cli._tables import Line, Table, show

    numbers = ("entries", "ticks", "bytes", "budget: ticks", "budget: bytes")
    rows = [
        (
            f"{each.address:#x}" + (f" {printable(each.symbol)}" if each.symbol else ""),
            *(f"{number:,}" for number in (each.entries, each.ticks, each.memory_bytes)),
            *(f"{number:,}" if each.entries else "any" for number in (each.budget_ticks, each.budget_memory_bytes)),
        )
        for each in found.regions
    ]
    parts: list[Line | Table] = [
        Line(
            f"the most that one entry used, in {counted(found.processes, 'process', 'processes')}; "
            f"budgets are {found.multiple} times that"
        ),
        Table(("region", *numbers), rows, ["" if each.entries else "yellow" for each in found.regions], numbers),
    ]
    parts += [Line(complaint, "yellow") for complaint in complaints]
    parts.append(Line(f"profile: {printable(str(output))}"))
    show(parts)


def _complaints(found: Profile) -> list[str]:
    """Why it may be no good measure."""
    complaints = []
    if found.status:
        complaints.append(f"the command ended with status {found.status}: it is no good workload")
    if found.recoveries:
        complaints.append(f"{counted(found.recoveries, 'fault')} had to be undone: it is no good workload")
    if found.degradations:
        complaints.append(f"{counted(found.degradations, 'entry', 'entries')} went on natively and were not measured")
    if not found.has_learned:
        complaints.append("no region was entered: nothing was learned")
    return complaints
