"""`stemrw revert`: give back the original of a hardened file, or take single regions out of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemrw.cli._files import about, open_file, warn
from stemrw.errors import UsageError
from stemrw.text import printable

if TYPE_CHECKING:
    from stemrw.documents.manifest import Manifest
    from stemrw.documents.plan import PlannedRegion

EPILOG = (
    "Examples: stemrw revert yasm.hardened -o yasm, or, to take one region out and leave the others, "
    "stemrw revert yasm.hardened --region 0x4d30. Exit status: 0 done; 2 an error, nothing was written."
)


def revert(
    hardened: Annotated[Path, typer.Argument(metavar="HARDENED", help="The hardened file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where the result goes. Default: HARDENED.orig, or with --region HARDENED itself.",
        ),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL|ADDR",
            help="Take out this region, and the safety nets and guards that are there for it only. Repeatable.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="FILE", help="Its manifest. Default: HARDENED.manifest.json"),
    ] = None,
) -> None:
    """Give back the original of a hardened file, byte for byte; or with --region, take out single regions.

    The original is written only if its sha256 is that which the manifest names.
    """
    from stemrw import rewrite
    from stemrw.cli._tables import progress, show_text

    if str(output) == "-":
        raise UsageError("the original is not written to standard output", hint="-o names a file")
    target = output or (hardened if region else hardened.with_name(hardened.name + ".orig"))
    with progress(f"reverting {hardened}"):
        file, known = open_file(hardened, manifest)
        if known is None:
            raise UsageError("this file is not hardened", file=hardened, hint="there is nothing to revert")
        with about(hardened):
            original = rewrite.revert(file.data, known)
        if region:
            lost, said = _take_out(region, hardened, target, bytes(original), known)
        else:
            lost = rewrite.write_output([(target, original)], like=hardened)
            said = f"{printable(str(target))}: identical to the original\n"
    warn(lost, target)
    show_text(said)


def _take_out(
    names: list[str], hardened: Path, target: Path, original: bytes, known: Manifest
) -> tuple[list[str], str]:
    """Harden the original again, with what the other regions ask for; gives what was lost, and the summary."""
    from stemrw.cli._render import region_name, summary
    from stemrw.documents.localization import BinaryIdentity
    from stemrw.documents.manifest import manifest_path
    from stemrw.documents.plan import Plan
    from stemrw.plan import file_rules, remembered, without
    from stemrw.rewrite import rewrite, write_output

    unwanted = {_named(name, hardened, known).address for name in names}
    rest = without(remembered(known), unwanted)
    if not rest:
        hint = "to get the original back, leave out --region"
        nets = [region_name(region) for region in known.regions if region.address not in unwanted]
        why = f": safety nets only, {', '.join(nets)}" if nets else ""
        raise UsageError(f"no region would be left{why}", file=hardened, hint=hint)
    identity = BinaryIdentity(path=str(hardened), sha256=known.input.sha256, build_id=known.input.build_id)
    with about(hardened):
        done = rewrite(original, Plan(binary=identity, regions=rest, rules=file_rules(rest)), events_path=known.events)
    text = done.manifest.to_json().encode()
    lost = write_output([(target, done.content), (manifest_path(target), text)], like=hardened)
    return lost, summary(done.manifest, target)


def _named(name: str, hardened: Path, known: Manifest) -> PlannedRegion:
    """The region with a symbol or an entry address."""
    for region in known.regions:
        if name == region.symbol or _address(name) == region.address:
            return region
    there = ", ".join(
        f"{printable(r.symbol)} ({r.address:#x})" if r.symbol else f"{r.address:#x}" for r in known.regions
    )
    raise UsageError(f"it has no region {name!r}", file=hardened, hint=f"its regions: {there}")


def _address(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
