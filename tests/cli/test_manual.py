"""The manual page is made from the commands' help, is up to date, and no formatter complains."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from stemrw.cli import COMMANDS, application

ROOT = Path(__file__).resolve().parents[2]
MANUAL = ROOT / "man" / "stemrw.1"


def test_what_the_code_says_in_docs_is_up_to_date() -> None:
    check = [sys.executable, ROOT / "scripts" / "generate_docs", "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), f"run scripts/generate_docs\n{done.stderr}"


@pytest.mark.parametrize(
    "command",
    [("mandoc", "-Tlint"), ("groff", "-ww", "-man", "-Tutf8", "-z"), ("groff", "-ww", "-mandoc", "-Thtml", "-z")],
)
def test_formatters_do_not_complain(command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    done = subprocess.run([*command, MANUAL], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_command_and_option_is_in_it() -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("no mandoc")
    formatted = subprocess.run(["mandoc", "-Tascii", MANUAL], capture_output=True, text=True, check=True).stdout
    while "\b" in formatted:  # bold is overstruck
        at = formatted.index("\b")
        formatted = formatted[: at - 1] + formatted[at + 1 :]
    group = typer.main.get_command(application())
    assert tuple(getattr(group, "commands")) == COMMANDS  # noqa: B009 - a group, which its type does not say
    commands: dict[str, Any] = dict(getattr(group, "commands"))  # noqa: B009
    commands |= {f"report {name}": command for name, command in commands.pop("report").commands.items()}
    for name, command in commands.items():
        assert f"stemrw {name}" in formatted
        for parameter in command.params:
            assert all(option in formatted for option in parameter.opts if option.startswith("-"))
    for part in ("NAME", "SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "FILES"):
        assert f"\n{part}\n" in formatted


def test_the_wheel_installs_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {str(MANUAL.relative_to(ROOT)): "share/man/man1/stemrw.1"}
