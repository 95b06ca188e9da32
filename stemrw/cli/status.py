"""`stemrw status`: what the runtime has counted in a process that is running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from stemrw.errors import SensorError
from stemrw.text import counted

if TYPE_CHECKING:
    from stemrw.cli._tables import Line, Table
    from stemrw.documents.status import ModuleStatus, Status

EPILOG = (
    "Example: stemrw status $(pidof dash.hardened) --watch 2. "
    "Exit status: 0 shown; 1 no file in the process is hardened; 2 an error, such as no such process or no permission."
)
_UNCALLED = "nothing of it has run yet"


def status(
    pid: Annotated[int, typer.Argument(metavar="PID", min=1, help="The process.")],
    watch: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="Show it again and again, until the process ends or Ctrl-C."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it as JSON (docs/status.md); with --watch one line each time.")
    ] = False,
) -> None:
    """Show the counters and the last recoveries of a running hardened process.

    They are read from the memory of the process, which is not stopped and need not cooperate; the file that it was
    started from may be gone. Every hardened program or library in it is shown.
    """
    from stemrw.status import read_status

    found = read_status(pid)
    if found is None:
        print(f"process {pid}: no file in it is hardened")
        raise typer.Exit(1)
    if watch is None:
        _show(found, as_json=as_json)
    else:
        _watch(found, watch, as_json=as_json)


def _watch(found: Status, seconds: float, *, as_json: bool) -> None:
    """Show it until the process ends or the user has seen enough."""
    import sys
    import time

    from stemrw.status import read_status

    clear = "\x1b[H\x1b[2J" if sys.stdout.isatty() and not as_json else ""
    try:
        while True:
            print(clear, end="")
            if as_json:
                print(found.model_dump_json(by_alias=True))
            else:
                _show(found, as_json=False)
            sys.stdout.flush()
            time.sleep(seconds)
            try:
                again = read_status(found.pid)
            except SensorError:
                return  # it has ended
            if again is None:
                return
            found = again
    except KeyboardInterrupt:
        return


def _show(found: Status, *, as_json: bool) -> None:
    from stemrw.cli._tables import Line, show, show_text

    if as_json:
        show_text(found.to_json())
        return

    parts: list[Line | Table] = [Line(f"process {found.pid}, {found.command}", "bold")]
    for module in found.modules:
        parts += _module(module)
    show(parts)


def _module(module: ModuleStatus) -> Iterator[Line | Table]:
    from stemrw.cli._render import pattern_text
    from stemrw.cli._tables import Line, Table, heading

    state = {"unused": _UNCALLED, "disabled": "disabled: everything runs natively"}.get(module.state, module.state)
    yield from heading(f"{module.path or 'memory without a file'} ({state})")
    yield Line(
        f"{counted(module.recoveries, 'recovery', 'recoveries')}, {counted(module.degradations, 'degradation')}, "
        f"{counted(module.threads, 'thread')}, {module.translated_bytes:,} bytes translated, "
        f"largest undo log {module.log_peak:,} bytes"
    )
    if module.reasons:
        reasons = ", ".join(f"{reason} {count}" for reason, count in module.reasons.items())
        yield Line(f"run natively because of: {reasons}", "yellow")
    shown = [patch for patch in module.patches if patch.kind == "region" or patch.entries or patch.degradations]
    numbers = ("entries", "left", "rescued", "degraded")
    yield Table(
        ("function", "kind", *numbers),
        [
            (
                _name(patch.function, patch.symbol), patch.kind, str(patch.entries), str(patch.commits),
                str(patch.recoveries), str(patch.degradations),
            )
            for patch in shown
        ],
        ["red" if patch.recoveries else "" for patch in shown],
        numbers,
    )  # fmt: skip
    if module.recent:
        yield from heading("last recoveries, newest first")
        yield Table(
            ("time", "thread", "class", "region", "at", "address", "returned", "undone", "irreversible"),
            [
                (
                    each.time, str(each.thread), each.fault_class, _name(each.region, each.symbol),
                    f"{each.pc:#x}" + ("" if each.in_region_module else " (library)"), f"{each.address:#x}",
                    pattern_text(each.returned), f"{each.log_bytes}", f"{each.irreversible}",
                )
                for each in module.recent
            ],
            right=("thread", "undone", "irreversible"),
        )  # fmt: skip
    if module.unreadable:
        yield Line(f"{module.unreadable} entries were being written while they were read", "yellow")


def _name(address: int, symbol: str | None) -> str:
    return f"{address:#x} {symbol}" if symbol else f"{address:#x}"
