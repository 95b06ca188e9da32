"""The failing program, built as it is shipped and with sanitizers, and what other tools say of it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fails.c")
USUAL = ("-O1", "-w", "-fno-stack-protector")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fails")


def build(compiler: str, target: Path, *flags: str) -> Path:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    target.parent.mkdir(exist_ok=True)
    subprocess.run([compiler, *USUAL, *flags, SOURCE, "-o", target], check=True)
    return target


@pytest.fixture(scope="session")
def shipped(folder: Path) -> Path:
    """As distributions ship it: with symbols, without debug information."""
    return build("gcc", folder / "fails")


@pytest.fixture(scope="session")
def fixed(folder: Path) -> Path:
    """At a fixed address, with debug information."""
    return build("gcc", folder / "fails-fixed", "-no-pie", "-g")


def output(command: Sequence[str | Path], **environment: str) -> str:
    """Standard output and standard error of a program that may die; no core file."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        check=False,
    )
    return done.stdout.decode(errors="replace")


def under_gdb(program: Path, what: str, *commands: str) -> str:
    """The text of a gdb session on the program's death."""
    if shutil.which("gdb") is None:
        pytest.skip("no gdb")
    shown = [word for command in ("run", *commands) for word in ("-ex", command)]
    return output(["gdb", "-q", "-nx", "-batch", *shown, "--args", program, what])
