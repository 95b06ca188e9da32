"""`stemrw run`: run a command, and report the fault it dies of."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemrw.errors import UsageError
from stemrw.text import printable

if TYPE_CHECKING:
    from stemrw.documents.fault_report import FaultReport

EPILOG = (
    "Examples: stemrw run -o report.json -- yasm bad.asm, or, for a program that hangs, "
    "stemrw run --timeout 10 -- prog. Next: stemrw patch /usr/bin/yasm --fault report.json. "
    "Exit status: the command's own; 128 + n if signal n killed it; 127 or 126 if it could not be started; 2 an error, "
    "nothing was run."
)
CONTEXT_SETTINGS = {"allow_interspersed_args": False}
"""For the registration of `run`: options end where the command begins."""


def run(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD…", help="The command and its arguments.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the report goes.")] = Path(
        "report.json"
    ),
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="Still running after this time: report a hang and kill it."),
    ] = None,
    cpu_limit: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0.1, help="One process used this much CPU time: report a hang and kill it."
        ),
    ] = None,
) -> None:
    """Run a command; if it or a child dies of a fault, write a fault report.

    The command keeps its standard streams and its environment. Where nothing dies, no report is written.
    """
    from stemrw.sense import Sensor

    _check_output(output)
    sensor = Sensor(report=lambda report: _write(report, output), say=_say, timeout=timeout, cpu_limit=cpu_limit)
    raise typer.Exit(sensor.run(command))


def _say(text: str) -> None:
    print(f"stemrw: {text}", file=sys.stderr, flush=True)


def _check_output(output: Path) -> None:
    """Find out before the command runs, not when it has crashed."""
    folder = output.resolve().parent
    if output.is_dir() or not folder.is_dir():
        raise UsageError("the report cannot be written there: no such folder", file=output, hint="-o names a file")
    if not os.access(output if output.exists() else folder, os.W_OK):
        raise UsageError("the report cannot be written there: permission denied", file=output, hint="choose another -o")


def _write(report: FaultReport, output: Path) -> None:
    """Whole or not at all."""
    from stemrw.cli._files import write_whole

    try:
        write_whole(output, report.to_json())
    except OSError as error:  # the command is no less alive for that
        _say(f"{printable(str(output))}: the report could not be written: {error.strerror}")
        return
    _say(f"{_summary(report)}; report written to {printable(str(output))}")


def _summary(report: FaultReport) -> str:
    """One line: who, of what, where."""
    name = printable(Path(report.program.path).name)
    pc = report.pc
    where = f"{pc.address:#x}" if pc.address is not None else "?"
    if pc.module is not None:
        where += f" of {printable(pc.module)}" + (f" ({printable(pc.symbol)})" if pc.symbol else "")
    if report.hang is not None:
        return f"{name} (process {report.pid}) {'spins' if report.hang.spinning else 'waits'} at {where}"
    return f"{name} (process {report.pid}) died of {report.signal}: {report.fault_class} at {where}"
