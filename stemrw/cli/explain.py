"""`stemrw explain`: why a file is hardened as it is, or would be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemrw.errors import UsageError

if TYPE_CHECKING:
    from stemrw.documents.explanation import Explanation

EPILOG = (
    "Examples: stemrw explain /usr/bin/yasm --fault report.json says what `patch` would do, "
    "stemrw explain yasm.hardened "
    "what was done; for a pipeline, --json | jq '.regions[].candidates'. "
    "Exit status: 0; 2 an error, such as a report about another file, or a file that is neither hardened nor reported."
)


def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A program or library, as it is or hardened.")],
    fault: Annotated[
        list[Path] | None,
        typer.Option("--fault", metavar="REPORT", help="Fault report, of `stemrw run` or by hand. Repeatable."),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="SYMBOL|ADDR", help="Explain this function, with or without a report."),
    ] = None,
    frame: Annotated[
        int | None, typer.Option("--frame", metavar="N", help="The function of frame N of the report (0: innermost).")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Manifest of a FILE that is hardened already. Default: FILE.manifest.json"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Accept a report about another build (build-id) of the file.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON (docs/explain.md).")] = False,
) -> None:
    """Say where a fault would be rescued and with what value, and why not elsewhere and otherwise.

    For each fault: the functions of the backtrace, with points and reasons for and against returning from them. For
    each region: the values it could return, with the evidence for each, its rules, and the safety nets around it.
    Nothing is written. Of a hardened file without --fault, its manifest is explained.
    """
    from stemrw.cli._tables import progress, show_text

    with progress(f"reading {file}"):
        found = _explanation(file, fault or [], region, frame, manifest, force=force)
    if as_json:
        show_text(found.to_json())
        return
    from stemrw.cli._explained import explained
    from stemrw.cli._tree import show_tree

    show_tree(explained(found))


def _explanation(
    file: Path, faults: list[Path], region: str | None, frame: int | None, manifest: Path | None, *, force: bool
) -> Explanation:
    from stemrw.cli._files import open_original
    from stemrw.documents.fault_report import load_report
    from stemrw.image import Image
    from stemrw.localize import localize
    from stemrw.plan import explain as explain_plan
    from stemrw.plan import explain_manifest, plan

    elf, known = open_original(file, manifest)
    if not faults and region is None:
        if known is None:
            hint = "give --fault REPORT or --region SYMBOL|ADDR"
            raise UsageError("this file is not hardened, and nothing says what happened", file=file, hint=hint)
        return explain_manifest(known, str(file))
    if frame is not None and len(faults) != 1:
        raise UsageError("--frame counts in one report", hint="give exactly one --fault")
    image = Image(elf, hardened_sha256=known.output.sha256 if known else None)
    if faults:
        found = [localize(load_report(path), image, region=region, frame=frame, force=force) for path in faults]
    else:
        found = [localize(None, image, region=region)]
    return explain_plan(plan(found, image), found)
