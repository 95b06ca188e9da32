"""The shells complete commands, options and names, and only what is needed for that is loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stemrw.cli import COMMANDS

PROGRAM = "from stemrw.cli import main; main()"


def complete(line: str, shell: str = "bash") -> list[str]:
    """What is offered for the last word of a line, as the shells' scripts ask for it."""
    words = line.split(" ")
    environment = {**os.environ, "_STEMRW_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment |= {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": line}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_commands() -> None:
    assert [name for name in complete("stemrw ") if name] == list(COMMANDS)
    assert complete("stemrw rev") == ["revert"]


@pytest.mark.parametrize(
    "line", ["stemrw patch --fa", "stemrw patch FILE -o x --fa", "stemrw patch --region main --fa"]
)
def test_options(line: str) -> None:
    assert complete(line) == ["--fault"]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_names_of_documents(shell: str) -> None:
    assert complete("stemrw schema man", shell) == ["manifest"]


def test_names_in_zsh() -> None:
    assert any('"manifest"' in line for line in complete("stemrw schema man", "zsh"))


def test_files_are_left_to_the_shell() -> None:
    assert complete("stemrw patch FILE --fault rep") == [""]


def test_broken_line_is_no_error() -> None:
    assert complete("stemrw patch 'unfinished \x1b[2J") == [""]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_one_that_the_shell_accepts(shell: str, tmp_path: Path) -> None:
    show = [sys.executable, "-c", PROGRAM, "--show-completion", shell]
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(show, env=environment, capture_output=True, text=True, check=True)
    assert "_STEMRW_COMPLETE" in done.stdout and "complete_" + shell in done.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    script = tmp_path / "script"
    script.write_text(done.stdout)
    subprocess.run([shell, "-n", script], check=True)


def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    """From `--install-completion` in a fresh home to what the Tab key does."""
    program = tmp_path / "stemrw"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{PROGRAM}' \"$@\"\n")
    program.chmod(0o755)
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    install = f"{program} --install-completion && . ~/.bashrc"
    press = "COMP_WORDS=(stemrw patch --ret) COMP_CWORD=2; _stemrw_completion stemrw; echo ${COMPREPLY[@]}"
    done = subprocess.run(
        ["bash", "-c", f"{install}; {press}; complete -p stemrw"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert "completion installed in" in lines[0]
    assert lines[-2:] == ["--return", "complete -o default -F _stemrw_completion stemrw"]


def test_nothing_heavy_is_loaded_to_complete() -> None:
    heavy = "('drgn', 'iced_x86', 'capstone', 'elftools', 'stemrw.sense', 'stemrw.documents')"
    code = (
        "import sys\nfrom stemrw.cli import call\n"
        f"try: call([])\nexcept SystemExit: print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "_STEMRW_COMPLETE": "complete_bash", "COMP_WORDS": "stemrw ", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n" and set(COMMANDS) <= set(done.stdout.split())
