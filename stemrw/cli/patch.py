"""`stemrw patch`: from fault reports to a hardened file and its manifest."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemrw.errors import UsageError
from stemrw.text import printable, unicode

if TYPE_CHECKING:
    from stemrw.documents.localization import Localization
    from stemrw.documents.manifest import Manifest
    from stemrw.documents.rules import AnyRule
    from stemrw.image import Image

EPILOG = (
    "Examples: stemrw patch /usr/bin/yasm --fault report.json -o yasm.hardened, or, without any crash, "
    "stemrw patch prog --region main. Several reports are patched together: --fault a.json --fault b.json. "
    "A file that is hardened already gets further regions; the ones it has stay as they are. "
    "Exit status: 0 written; 2 an error, nothing was written."
)


class Guard(StrEnum):
    """Which heap blocks are guarded; the values are those of `stemrw.plan`."""

    report = "report"
    heap = "heap"
    none = "none"


def patch(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The program or shared library to harden.")],
    fault: Annotated[
        list[Path] | None,
        typer.Option("--fault", metavar="REPORT", help="Fault report, of `stemrw run` or by hand. Repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="The hardened file. Default: ./NAME.hardened, or FILE itself if it is hardened already.",
        ),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL|ADDR",
            help="Make this function the region, whatever the report leads to. Repeatable where there is no report.",
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'ADDR: EXPR'",
            help="What must hold before the instruction at ADDR, or it is a fault: '0x4d6e: rdi < 64'. Repeatable.",
        ),
    ] = None,
    frame: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Make the function of this frame of the report the region (0: crash)."),
    ] = None,
    return_value: Annotated[
        str | None,
        typer.Option("--return", metavar="VALUE", help="What a rescue returns: -1, 0x7f, or 1.5 for a double."),
    ] = None,
    guard: Annotated[
        Guard,
        typer.Option(
            help="Heap blocks to put between inaccessible pages: those that the report names, all that FILE allocates "
            "(heap), or none.",
        ),
    ] = Guard.report,
    errno: Annotated[
        str | None, typer.Option(metavar="NAME|NUMBER", help="What a rescue sets errno to: ENOENT, or 2.")
    ] = None,
    out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARG[+OFFSET]:SIZE=VALUE",
            help="What a rescue writes through a pointer argument: 2:8=0 clears 8 bytes where the third one points to. "
            "Repeatable.",
        ),
    ] = None,
    escalate: Annotated[
        bool,
        typer.Option(help="Rescue a fault that repeats without end in the next region further out."),
    ] = True,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What is done about a fault: return (an error value, the default), oblivious (leave the access out), "
            "retry (once more, in roomier memory), end-thread, end-child, die.",
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the hardened program appends one JSON line per recovery."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Manifest of a FILE that is hardened already. Default: FILE.manifest.json"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Accept a report about another build (build-id) of the file.")
    ] = False,
    by_symbol: Annotated[
        bool,
        typer.Option(
            "--by-symbol",
            help="The report is about another build (with a sanitizer, say): go by the names of functions.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest instead of a summary.")] = False,
) -> None:
    """Harden a program or shared library against the faults of one or more reports.

    The function in which the fault lies (or --region, or --frame) will run with a checkpoint: when the fault comes
    again, what the function did is undone and it returns an error. OUT.manifest.json says what was changed and why.
    """
    from stemrw.cli._files import about, open_original, warn
    from stemrw.cli._render import summary
    from stemrw.cli._tables import progress, show_text
    from stemrw.documents.manifest import manifest_path
    from stemrw.image import Image
    from stemrw.plan import asked_errno, asked_out, plan, strategy_rules
    from stemrw.rewrite import rewrite, write_output

    _check(file, [*(fault or []), *(require or [])], region or [], frame)
    value = _pattern(return_value)
    outputs: list[AnyRule] = [asked_out(text) for text in out or []]
    events_path = _events(events)
    with progress(f"hardening {file}"):
        elf, known = open_original(file, manifest)
        named = output is not None
        output = output or (file if known else Path(file.name + ".hardened"))
        image = Image(elf, hardened_sha256=known.output.sha256 if known else None)
        localizations = _localize(
            image, fault or [], require or [], region or [], frame=frame, force=force, by_symbol=by_symbol
        )
        had = (known.regions, known.rules) if known else ((), ())
        if errno is not None:
            outputs.append(asked_errno(errno, image))
        planned = plan(
            localizations,
            image,
            known=had[0],
            known_rules=had[1],
            return_value=value,
            outputs=outputs,
            escalate=escalate,
            guard=guard.value,
            strategy=strategy_rules(strategy, image) if strategy is not None else (),
        )
        if known and events_path is None:
            events_path = known.events
        with about(file):
            done = rewrite(elf, planned, events_path=events_path)
        if not named and known is None:
            _check_nothing_is_lost(output, done.manifest)
        text = done.manifest.to_json()
        unchanged = output == file and done.manifest == known
        if not unchanged:
            lost = write_output([(output, done.content), (manifest_path(output), text.encode())], like=file)
            warn(lost, output)
    said = f"{output}: unchanged, it was hardened so already\n" if unchanged else summary(done.manifest, output)
    show_text(text if as_json else said)


def _check(file: Path, faults: Sequence[Path | str], regions: list[str], frame: int | None) -> None:
    if not file.is_file():
        raise UsageError("there is no such file", file=file)
    if not faults and not regions:
        raise UsageError("nothing says what to harden against", hint="give --fault REPORT, --require or --region")
    if faults and len(regions) > 1:
        raise UsageError("a fault is rescued in one region", hint="give one --region, or several without --fault")
    if frame is not None and len(faults) > 1:
        raise UsageError("--frame counts in one report", hint="give exactly one --fault")


def _check_nothing_is_lost(output: Path, planned: Manifest) -> None:
    """The default output may be there, and be hardened otherwise: only who names it means to replace it."""
    from stemrw.documents.manifest import load_manifest, manifest_path

    if not manifest_path(output).is_file() or not output.is_file():
        return
    kept = {region.address for region in planned.regions}
    lost = [region for region in load_manifest(manifest_path(output)).regions if region.address not in kept]
    if lost:
        names = ", ".join(printable(region.symbol or hex(region.address)) for region in lost)
        hint = "patch it to add a region, or replace it with --output"
        raise UsageError(f"it is there already, with other regions: {names}", file=output, hint=hint)


def _events(path: Path | None) -> str | None:
    """The manifest holds the path as text, so it has to be some."""
    if path is not None and unicode(str(path)) != str(path):
        raise UsageError("the name of the events file is not Unicode", file=path, hint="choose another --events")
    return str(path) if path is not None else None


def _localize(
    image: Image,
    faults: list[Path],
    requires: list[str],
    regions: list[str],
    *,
    frame: int | None,
    force: bool,
    by_symbol: bool,
) -> list[Localization]:
    from stemrw.documents.fault_report import load_report
    from stemrw.localize import localize, required

    reports = [*map(load_report, faults), *(required(text, image) for text in requires)]
    if not reports:
        return [localize(None, image, region=region, frame=frame) for region in regions]
    region = regions[0] if regions else None
    choice: Any = {"region": region, "frame": frame, "force": force, "by_symbol": by_symbol}
    return [localize(report, image, **choice) for report in reports]


def _pattern(value: str | None) -> int | None:
    """A number as the user writes it, as a 64-bit pattern; with a decimal point it is a double."""
    if value is None:
        return None
    try:
        number = int(value, 0)
    except ValueError:
        try:
            return int.from_bytes(struct.pack("<d", float(value)), "little")
        except ValueError:
            raise UsageError(f"--return {value!r} is no number", hint="such as -1, 0x7f, or 1.5") from None
    if not -(1 << 63) <= number < 1 << 64:
        raise UsageError(f"--return {value} does not fit in 64 bits")
    return number & ((1 << 64) - 1)
