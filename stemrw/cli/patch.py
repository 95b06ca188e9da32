"""`stemrw patch`: from fault reports to a hardened file and its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemrw.cli import _choices as options
from stemrw.errors import UsageError
from stemrw.text import printable, unicode

if TYPE_CHECKING:
    from stemrw.documents.manifest import Manifest

EPILOG = (
    "Examples: stemrw patch /usr/bin/yasm --fault report.json -o yasm.hardened, or, without any crash, "
    "stemrw patch prog --region main. Several reports are patched together: --fault a.json --fault b.json. "
    "A file that is hardened already gets further regions; the ones it has stay as they are, but for what is said of "
    "them now. Next: stemrw verify OUT --replay 'CMD', with the command that crashed. "
    "Exit status: 0 written; 2 an error, such as options that contradict each other, and nothing was written."
)


def patch(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The program or shared library to harden.")],
    fault: options.Faults = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="The hardened file. Default: ./NAME.hardened, or FILE itself if it is hardened already.",
        ),
    ] = None,
    region: options.Regions = None,
    require: options.Requirements = None,
    frame: options.Frame = None,
    return_value: options.ReturnValue = None,
    policy: options.PolicyName = "evidence",
    budget: options.Budgets = None,
    profile: options.ProfileFile = None,
    guard: options.GuardChoice = options.Guard.report,
    errno: options.Errno = None,
    out: options.Outputs = None,
    no_escalate: options.NoEscalation = False,
    strategy: options.StrategyName = None,
    resume: options.Resume = None,
    set_register: options.Registers = None,
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the hardened program appends one JSON line per recovery."),
    ] = None,
    manifest: options.Manifest = None,
    force: options.Force = False,
    by_symbol: options.BySymbol = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest instead of a summary.")] = False,
) -> None:
    """Harden a program or shared library against the faults of one or more reports.

    The function in which the fault lies (or --region, or --frame) will run with a checkpoint: when the fault comes
    again, what the function did is undone and it returns an error. OUT.manifest.json says what was changed and why.
    """
    from stemrw.cli._asked import Asked, planned
    from stemrw.cli._files import about, open_original, warn
    from stemrw.cli._render import summary
    from stemrw.cli._tables import progress, show_text
    from stemrw.documents.manifest import manifest_path
    from stemrw.image import Image
    from stemrw.rewrite import rewrite, write_output

    asked = Asked(
        faults=fault or (), regions=region or (), requirements=require or (), frame=frame, force=force,
        by_symbol=by_symbol, return_value=return_value, policy=policy, budgets=budget or (), profile=profile,
        guard=guard, errno=errno, outputs=out or (), escalate=not no_escalate, strategy=strategy, resume=resume,
        registers=set_register or (),
    )  # fmt: skip
    asked.check(file)
    events_path = _events(events)
    with progress(f"hardening {file}"):
        elf, known = open_original(file, manifest)
        named = output is not None
        output = output or (file if known else Path(file.name + ".hardened"))
        _check_output(output, [*asked.faults, *filter(None, (profile, manifest))])
        wanted, _ = planned(asked, Image(elf, hardened_sha256=known.output.sha256 if known else None), known)
        if known and events_path is None:
            events_path = known.events
        with about(file):
            done = rewrite(elf, wanted, events_path=events_path)
        if not named and known is None:
            _check_nothing_is_lost(output, done.manifest)
        text = done.manifest.to_json()
        unchanged = output == file and done.manifest == known
        if not unchanged:
            lost = write_output([(output, done.content), (manifest_path(output), text.encode())], like=file)
            warn(lost, output)
    said = f"{output}: unchanged, it was hardened so already\n" if unchanged else summary(done.manifest, output)
    show_text(text if as_json else said)


def _check_output(output: Path, read: Sequence[Path]) -> None:
    """What was read is not what should be written over, and a manifest needs a name to lie beside."""
    if str(output) == "-":
        raise UsageError("a hardened file is not written to standard output", hint="-o names a file")
    for path in read:
        if output.exists() and path.exists() and output.samefile(path):
            raise UsageError("this file was given to be read", file=output, hint="choose another --output")


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
