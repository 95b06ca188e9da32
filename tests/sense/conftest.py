"""The sensor as its users run it, on one small program that can die in many ways."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sense.sensing import Program, Sense, Sensed, argv, build


@pytest.fixture
def sense(tmp_path: Path) -> Sense:
    """Run a command under the sensor; `stdin` is a file or its text."""

    def run(*command: str | Path, options: tuple[str, ...] = (), stdin: str | Path = "") -> Sensed:
        report = tmp_path / "report.json"
        source = os.open(stdin, os.O_RDONLY) if isinstance(stdin, Path) else None
        done = subprocess.run(
            argv("-o", report, *options, "--", *command),
            stdin=source,
            input=stdin if isinstance(stdin, str) else None,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if source is not None:
            os.close(source)
        return Sensed(done.returncode, done.stdout, done.stderr, report)

    return run


@pytest.fixture(scope="session")
def crasher(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The crasher as position-independent executable, with symbols."""
    return build(tmp_path_factory.mktemp("crasher") / "crasher", "-fPIE", "-pie", "-pthread")
