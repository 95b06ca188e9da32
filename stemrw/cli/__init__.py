"""The command line: one module per command; this one only chooses it and turns errors into one sentence."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stemrw import __version__
from stemrw.errors import StemrwError

COMMANDS = ("run", "patch", "revert", "profile", "inspect", "explain", "diff", "verify", "status", "schema", "report")
_CHAIN = ("run", "report", "patch", "revert")
_LONGEST, _TAIL = 1200, 300
"""Characters of an error, and of its end, which says what to do."""
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h

_EPILOG = (
    "Exit status: 0 done; 1 the answer is no (see the command); 2 an error, told in one sentence on standard error, "
    "nothing was written; 70 a bug of stemrw. `run` ends with the command's own status."
)


def main() -> None:
    """The `stemrw` command."""
    sys.exit(call(sys.argv[1:]))


def call(arguments: Sequence[str]) -> int:
    """Run one command line; gives the exit status."""
    _print_anything()
    if list(arguments[:1]) == ["--version"]:
        print(f"stemrw {__version__}")
        return 0
    try:
        command = typer.main.get_command(application(arguments))
        status = command.main(args=list(arguments), prog_name="stemrw", standalone_mode=False)
        sys.stdout.flush()
    except StemrwError as error:
        return _fail(str(error), error.exit_status)
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        return _fail(f"{message} (see `{_help(arguments)}`)", 2) if message else 2  # no arguments: the help was printed
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


def application(arguments: Sequence[str] = ()) -> typer.Typer:
    """The application with the one command that is called, or with all where that is not clear (for help)."""
    called = [name for name in (_completed() or list(arguments))[:1] if name in COMMANDS]
    app = typer.Typer(
        name="stemrw", no_args_is_help=True, pretty_exceptions_enable=False, callback=_options,
        help=_unwrapped(_options.__doc__ or ""),
        rich_markup_mode="rich", epilog=_EPILOG,
    )  # fmt: skip
    for name in called or COMMANDS:
        module: Any = importlib.import_module(f"stemrw.cli.{name}")
        function = getattr(module, name)
        panel = "Crash to cure" if name in _CHAIN else "Look and check"
        if isinstance(function, typer.Typer):
            app.add_typer(function, name=name, rich_help_panel=panel)
            continue
        register = app.command(
            name,
            help=_unwrapped(function.__doc__),
            context_settings=getattr(module, "CONTEXT_SETTINGS", None),
            epilog=getattr(module, "EPILOG", None),
            rich_help_panel=panel,
        )
        register(function)
    return app


def _unwrapped(text: str) -> str:
    """A docstring with each paragraph on one line: it is folded for the terminal."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _help(arguments: Sequence[str]) -> str:
    """How to get the help that is wanted after these."""
    return " ".join(["stemrw", *(name for name in arguments[:1] if name in COMMANDS), "--help"])


def _print_anything() -> None:
    """A name that the encoding of the terminal or pipe lacks is no error: such characters are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _completed() -> list[str]:
    """The words behind `stemrw` that stand finished on a line that a shell wants completed; none otherwise.

    The shells hand over the line in the environment, as the scripts of --show-completion say.
    """
    shell = os.environ.get("_STEMRW_COMPLETE", "").rpartition("_")[2]
    line = os.environ.get("COMP_WORDS" if shell == "bash" else "_TYPER_COMPLETE_ARGS", "") if shell else ""
    words = line.split()[1:]
    return words[:-1] if words and not line[-1].isspace() else words


def _options(
    _version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Make crashed executables survive the crash, without source.

    `run` a command and get a report of its crash, `patch` the program (or library) with it, and the same fault is
    undone and becomes an error return from then on. `revert` gives back the identical original. `inspect` says
    beforehand whether a file can be patched, and `diff` afterwards what was changed, byte by byte.
    """


def _fail(message: str, status: int) -> int:
    one_line = "".join(c if c.isprintable() else " " for c in message)
    if len(one_line) > _LONGEST:  # a file may have a name, or a report a build-id, of any length
        one_line = f"{one_line[: _LONGEST - _TAIL]} … {one_line[-_TAIL:]}"
    print(f"stemrw: {one_line}", file=sys.stderr)
    return status
