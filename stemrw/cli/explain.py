"""`stemrw explain`: why a file is hardened as it is, or would be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemrw.cli import _choices as options
from stemrw.errors import UsageError

if TYPE_CHECKING:
    from stemrw.cli._asked import Asked
    from stemrw.documents.explanation import Explanation

EPILOG = (
    "Examples: stemrw explain /usr/bin/yasm --fault report.json says what `patch` would do, stemrw explain "
    "yasm.hardened what was done, both together what `patch` would make of the hardened file. All options of `patch` "
    "that change the plan are options here; for a pipeline, --json | jq '.regions[].candidates'. "
    "Exit status: 0 explained; 2 an error, such as a report about another file, or a file that is neither hardened nor "
    "reported."
)


def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A program or library, as it is or hardened.")],
    fault: options.Faults = None,
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
    manifest: options.Manifest = None,
    force: options.Force = False,
    by_symbol: options.BySymbol = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON (docs/explain.md).")] = False,
) -> None:
    """Say where a fault would be rescued and with what value, and why not elsewhere and otherwise.

    For each fault: the functions of the backtrace, with points and reasons for and against returning from them. For
    each region: the values it could return, with the evidence for each, its rules, and the safety nets around it.
    Nothing is written. Of a hardened file without --fault, its manifest is explained.
    """
    from stemrw.cli._asked import Asked
    from stemrw.cli._tables import progress, show_text

    asked = Asked(
        faults=fault or (), regions=region or (), requirements=require or (), frame=frame, force=force,
        by_symbol=by_symbol, return_value=return_value, policy=policy, budgets=budget or (), profile=profile,
        guard=guard, errno=errno, outputs=out or (), escalate=not no_escalate, strategy=strategy, resume=resume,
        registers=set_register or (),
    )  # fmt: skip
    with progress(f"reading {file}"):
        found = _explanation(file, asked, manifest)
    if as_json:
        show_text(found.to_json())
        return
    from stemrw.cli._explained import explained
    from stemrw.cli._tree import show_tree

    show_tree(explained(found))


def _explanation(file: Path, asked: Asked, manifest: Path | None) -> Explanation:
    from stemrw.cli._asked import planned
    from stemrw.cli._files import open_original
    from stemrw.image import Image
    from stemrw.plan import explain as explain_plan
    from stemrw.plan import explain_manifest

    elf, known = open_original(file, manifest)
    if asked.names_nothing and not asked.given():
        if known is None:
            hint = "give --fault REPORT or --region SYMBOL|ADDR"
            raise UsageError("this file is not hardened, and nothing says what happened", file=file, hint=hint)
        return explain_manifest(known, str(file))
    asked.check(file)
    image = Image(elf, hardened_sha256=known.output.sha256 if known else None)
    return explain_plan(*planned(asked, image, known), known)
