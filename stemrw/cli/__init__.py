"""The command line: one module per command; this one only chooses it and turns errors into one sentence."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stemrw import __version__
from stemrw.errors import StemrwError

COMMANDS = ("run", "patch", "revert")
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h

_EPILOG = (
    "Exit status: 0 done; 2 an error, told in one sentence on standard error, nothing was written; 70 a bug of stemrw. "
    "`run` ends with the command's own status."
)


def main() -> None:
    """The `stemrw` command."""
    sys.exit(call(sys.argv[1:]))


def call(arguments: Sequence[str]) -> int:
    """Run one command line; gives the exit status."""
    if list(arguments[:1]) == ["--version"]:
        print(f"stemrw {__version__}")
        return 0
    try:
        command = typer.main.get_command(_app(arguments))
        status = command.main(args=list(arguments), prog_name="stemrw", standalone_mode=False)
        sys.stdout.flush()
    except StemrwError as error:
        return _fail(str(error), error.exit_status)
    except typer.TyperException as error:
        message = error.format_message()
        return _fail(message, 2) if message else 2  # without arguments: the help was printed
    except typer.Abort:
        return _fail("aborted", 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 2
    except Exception as error:
        if os.environ.get("STEMRW_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _fail(f"internal error: {what} (this is a bug; STEMRW_DEBUG=1 shows where)", INTERNAL_ERROR)
    return int(status or 0)


def _app(arguments: Sequence[str]) -> typer.Typer:
    """The application with the one command that is called, or with all where that is not clear (for help)."""
    app = typer.Typer(
        name="stemrw", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, callback=_options,
        rich_markup_mode="rich", epilog=_EPILOG,
    )  # fmt: skip
    called = [name for name in arguments[:1] if name in COMMANDS]
    for name in called or COMMANDS:
        module: Any = importlib.import_module(f"stemrw.cli.{name}")
        settings = getattr(module, "CONTEXT_SETTINGS", None)
        app.command(name, context_settings=settings, epilog=getattr(module, "EPILOG", None))(getattr(module, name))
    return app


def _options(
    _version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Make crashed executables survive the crash, without source.

    `run` a command and get a report of its crash, `patch` the program (or library) with it, and the same fault is
    undone and becomes an error return from then on. `revert` gives back the identical original.
    """


def _fail(message: str, status: int) -> int:
    one_line = "".join(c if c.isprintable() else " " for c in message)
    print(f"stemrw: {one_line}", file=sys.stderr)
    return status
