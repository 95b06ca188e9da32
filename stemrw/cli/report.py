"""`stemrw report`: fault reports from what other tools say, and fault reports for people."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemrw.errors import UsageError
from stemrw.text import printable

if TYPE_CHECKING:
    from stemrw.sense.importers import Imported

_HELP = (
    "Make a fault report from what another tool says of a crash, or show one. "
    "`stemrw run` makes reports itself; where the crash was seen by a sanitizer, valgrind, gdb or the kernel, "
    "`import` makes one of their output, for `stemrw patch`."
)
_FORMATS = "sanitizer, valgrind-xml, valgrind-text, gdb, coredumpctl or core"
_EPILOG = "Exit status: 0 done; 2 an error, told in one sentence on standard error, nothing was written."
_IMPORT_EPILOG = (
    "Examples: stemrw report import asan.txt -o report.json, or gdb -batch -ex run -ex bt --args prog bad | "
    "stemrw report import - --program prog, or coredumpctl dump prog | stemrw report import -. "
    "Exit status: 0 written; 2 an error, nothing was written."
)
_SHOW_EPILOG = "Example: stemrw report show report.json. Exit status: 0 shown; 2 an error."

report = typer.Typer(help=_HELP, epilog=_EPILOG, no_args_is_help=True, rich_markup_mode="rich")


@report.command("import", epilog=_IMPORT_EPILOG)
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="What the other tool wrote; -: standard input.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="REPORT", help="Where the report goes; -: standard output.")
    ] = Path("report.json"),
    program: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The file that failed, where FILE does not say it, or it is elsewhere now."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help=f"{_FORMATS}. Default: seen from FILE.")
    ] = None,
    error: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Of several errors in FILE, this one. Default: the first that is a fault."
        ),
    ] = None,
) -> None:
    """Make a fault report from a sanitizer's, valgrind's, gdb's or coredumpctl's output, or from a core file.

    What FILE does not say is left out of the report. Addresses are taken over only where they agree with the code of
    the file that they are about; otherwise functions are named.
    """
    from stemrw.cli._files import write_document
    from stemrw.cli._tables import Line, progress, show, show_text
    from stemrw.sense.importers import FORMATS, import_report

    if kind is not None and kind not in FORMATS:
        raise UsageError(f"--format {kind!r} is not known", hint=f"known are {_FORMATS}")
    if program is not None and not program.is_file():
        raise UsageError("there is no such file", file=program, hint="--program names the file that failed")
    with progress(f"reading {file}"):
        chosen: Any = kind
        source = None if file == "-" else Path(file)
        done = import_report(source, kind=chosen, program=program, error=error)
    text = done.report.to_json()
    if str(output) == "-":
        show_text(text)
        print("\n".join(f"stemrw: {printable(line)}" for line in _said(done)), file=sys.stderr)
    else:
        write_document(output, text)
        first, *rest = _said(done)
        show([Line(f"{output}: {first}"), *(Line(f"  {line}") for line in rest)])


@report.command("show", epilog=_SHOW_EPILOG)
def show_(
    path: Annotated[Path, typer.Argument(metavar="REPORT", help="A fault report, of stemrw or by hand.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, complete and checked.")] = False,
) -> None:
    """Show a fault report: what happened, where, and with which backtrace."""
    from stemrw.cli._reported import reported
    from stemrw.cli._tables import Line, show, show_text
    from stemrw.documents.fault_report import load_report

    found = load_report(path)
    if as_json:
        show_text(found.to_json())
    else:
        show(reported(found))
        words = ("stemrw", "patch", found.program.path, "--fault", str(path))
        show([Line(), Line(f"next: {shlex.join(words)}", "dim")])


def _said(done: Imported) -> Iterator[str]:
    """What was made, what could not be believed, and what was left out."""
    from stemrw.cli._reported import place

    yield f"{done.report.fault_class} in {place(done.report.pc)}, from {done.chosen}"
    yield from (f"note: {note}" for note in done.notes)
    for number, what, why in done.left_out[:_LISTED]:
        yield f"left out: error {number}, {what}: {why}"
    if len(done.left_out) > _LISTED:
        yield f"left out: {len(done.left_out) - _LISTED:,} more errors (--error chooses one)"


_LISTED = 10
