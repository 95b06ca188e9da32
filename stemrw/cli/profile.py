"""`stemrw profile`: what regions use while a good workload runs, as a measure for their budgets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemrw.errors import UsageError
from stemrw.text import counted, printable

if TYPE_CHECKING:
    from stemrw.documents.profile import Profile

EPILOG = (
    "Example: stemrw profile bzip2 --fault report.json -- bzip2 -k large.tar, then "
    "stemrw patch bzip2 --fault report.json --profile bzip2.profile.json. "
    "Exit status: 0 measured; 1 the command failed, or was rescued, so that it is no good measure; 2 an error."
)


def profile(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The program or library, hardened or not.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD…", help="The workload: it runs FILE.")],
    fault: Annotated[
        list[Path] | None,
        typer.Option("--fault", metavar="REPORT", help="Measure what would be the regions of this report. Repeatable."),
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option(metavar="SYMBOL|ADDR", help="Measure this function. Repeatable.")
    ] = None,
    multiple: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=1_000_000, help="The budget is so many times the highest that was seen."),
    ] = 10,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The profile. Default: ./NAME.profile.json"),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Manifest of a FILE that is hardened already. Default: FILE.manifest.json"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the profile (docs/budgets.md) instead.")] = False,
) -> None:
    """Learn from a good workload what budgets the regions of a file need.

    A copy of FILE that counts runs in its place: where {} stands in CMD, or as its first word, which then names the
    program; a library is found before all others of its name. Counted is the most that one entry of each region uses,
    in all processes of CMD that end while it runs. The command keeps its standard streams.
    """
    from stemrw.cli._files import about, open_original
    from stemrw.documents.fault_report import load_report
    from stemrw.documents.plan import Plan
    from stemrw.image import Image
    from stemrw.localize import identity, localize
    from stemrw.plan import plan
    from stemrw.profile import measure

    output = output or Path(file.name + ".profile.json")
    if not output.resolve().parent.is_dir() or output.is_dir():
        raise UsageError("the profile cannot be written there: no such folder", file=output, hint="-o names a file")
    elf, known = open_original(file, manifest)
    image = Image(elf, hardened_sha256=known.output.sha256 if known else None)
    localizations = [localize(load_report(path), image) for path in fault or ()]
    localizations += [localize(None, image, region=name) for name in region or ()]
    if not localizations and known is None:
        raise UsageError("nothing says what to measure", file=file, hint="give --fault REPORT or --region SYMBOL|ADDR")
    had = known.regions if known else ()
    with about(file):
        planned = plan(localizations, image, known=had) if localizations else Plan(binary=identity(image), regions=had)
        names = list(dict.fromkeys((file.name.removesuffix(".hardened"), file.name)))
        found = measure(elf, planned, command, names=names, home=file.parent, multiple=multiple)
    try:
        output.write_text(found.to_json())
    except OSError as error:
        raise UsageError(f"the profile cannot be written: {error.strerror}", file=output) from None
    _show(found, output, as_json=as_json)
    if found.status or found.recoveries:
        raise typer.Exit(1)


def _show(found: Profile, output: Path, *, as_json: bool) -> None:
    from stemrw.cli._tables import Line, Table, show, show_text

    if as_json:
        show_text(found.to_json())
        return
    numbers = ("entries", "ticks", "memory", "budget: ticks", "memory ")
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
    for complaint in _complaints(found):
        parts.append(Line(complaint, "yellow"))
    parts.append(Line(f"profile: {printable(str(output))}"))
    sys.stdout.flush()
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
    if not any(each.entries for each in found.regions):
        complaints.append("no region was entered: nothing was learned")
    return complaints
