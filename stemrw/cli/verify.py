"""`stemrw verify`: is a hardened file what it should be, does it survive, does it else do as before?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stemrw.documents.verification import Verification

EPILOG = (
    "Example: stemrw verify dash.hardened --replay 'dash bad.sh' --check 'dash -c \"echo ok\"' --emulate. "
    "Exit status: 0 nothing failed; 1 something failed; 2 an error, such as no manifest, or a command that cannot run."
)


def verify(
    hardened: Annotated[Path, typer.Argument(metavar="HARDENED", help="The hardened file.")],
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its manifest. Default: HARDENED.manifest.json")
    ] = None,
    original: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The original. Default: restored from the manifest.")
    ] = None,
    replay: Annotated[
        list[str] | None,
        typer.Option(metavar="CMD", help="A command of which the original died: hardened, it must live. Repeatable."),
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(metavar="CMD", help="A command whose output and status must be the original's. Repeatable."),
    ] = None,
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Compare the patched functions in Unicorn, on generated inputs.")
    ] = False,
    inputs: Annotated[int, typer.Option(metavar="N", min=1, help="With --emulate: inputs for each function.")] = 32,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="For each run of a command; then it is killed.")
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON (docs/verify.md).")] = False,
) -> None:
    """Verify a hardened file: its structure always, its behaviour as far as asked for.

    In a CMD the file under test stands where {} is, or else in place of the first word, which must name the program; a
    library is found before all others of its name. No shell reads it: for redirections write sh -c '"{}" <input'.
    Without --replay, --check and --emulate nothing is run.
    """
    from stemrw import verify as stage
    from stemrw.cli._tables import progress, show_text
    from stemrw.documents.manifest import load_manifest, manifest_path

    wishes = stage.Wishes(tuple(replay or ()), tuple(check or ()), emulate, inputs, timeout)
    known = load_manifest(manifest or manifest_path(hardened))
    with progress(f"verifying {hardened}") as say:
        found = stage.verify(hardened, known, wishes, original=original, progress=say)
    if as_json:
        show_text(found.to_json())
    else:
        _show(found)
    if not found.passed:
        raise typer.Exit(1)


def _show(found: Verification) -> None:
    from stemrw.cli._tables import Line, Table, show

    styles = {"passed": "green", "failed": "bold red", "skipped": "yellow"}
    rows: list[tuple[str, ...]] = []
    row_styles: list[str] = []
    for check in found.checks:
        first, *more = check.details or ("",)
        rows.append((check.group, check.outcome, check.name, first))
        rows += [("", "", "", detail) for detail in more]
        row_styles += [styles[check.outcome], *[""] * len(more)]
    counted = {outcome: sum(check.outcome == outcome for check in found.checks) for outcome in styles}
    verdict = ", ".join(f"{count} {outcome}" for outcome, count in counted.items() if count)
    show([
        Table(("group", "outcome", "check", "details"), rows, row_styles),
        Line(verdict, styles["passed" if found.passed else "failed"]),
    ])  # fmt: skip
