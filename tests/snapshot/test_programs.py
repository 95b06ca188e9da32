"""Real programs, `main` as region: wherever they fault, memory, registers and kernel state are as at the entry."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Tool
from rollback import Point, count_calls, experiment
from tracee import Tracee

_SCRIPTS = Path(__file__).resolve().parents[1] / "programs" / "scripts"
_POINTS = 3


@dataclass(frozen=True)
class Command:
    """A program of the system, its arguments, and what it reads."""

    program: str
    arguments: tuple[str, ...]
    stdin: str | None = None


_COMMANDS = (
    Command("ls", ("-lR", "/usr/share/doc/bash", "/etc/apt")),
    Command("sort", ("-k2,2r", "-S", "64k", "-T", ".", "lines")),
    Command("sed", ("-n", "s/\\([a-z]*\\) \\(.*\\)/\\2 \\1/p;$=", "lines")),
    Command("awk", ('{ n[$2] += $1 } END { for (k in n) printf "%s %.3f\\n", k, n[k] / 7 }', "lines")),
    # No children: what a handler of SIGCHLD writes in between is kept, not undone.
    Command("dash", ("-c", "for i in 1 2 3; do x=$x$((i * 7)); echo $x; done; cd /; test -d tmp && echo $x")),
    Command("tar", ("-cf", "archive", "lines", str(_SCRIPTS))),
    Command("gzip", ("-c", "lines")),
    Command("bzip2", ("-1", "-c", "lines")),
    Command("sqlite3", ("data.db",), "script.sql"),
    Command("lua5.4", (str(_SCRIPTS / "work.lua"), "1")),
    Command("python3", ("-I", "-S", "-c", "import re, json, os; print(os.listdir('/'), json.dumps(list(range(999))))")),
)


def _make_inputs(folder: Path) -> None:
    chance = random.Random(5)
    words = ["".join(chance.choices("etaoinshrdlu", k=5)) for _ in range(200)]
    lines = [f"{chance.randrange(10**6)} {chance.choice(words)} {chance.random()}" for _ in range(4000)]
    (folder / "lines").write_text("\n".join(lines) + "\n")
    (folder / "script.sql").write_text((_SCRIPTS / "work.sql").read_text())


@pytest.mark.parametrize("command", _COMMANDS, ids=lambda command: command.program)
def test_rollback_restores_every_byte(tool: Tool, tmp_path: Path, command: Command) -> None:
    found = shutil.which(command.program, path="/usr/bin:/bin")
    if found is None:
        pytest.skip(f"{command.program} is not installed")
    hardened = tmp_path / "hardened"
    tool.patch(Path(found).resolve(), hardened, "--region", "main")

    def start() -> Tracee:
        folder = tmp_path / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _make_inputs(folder)
        stdin = folder / command.stdin if command.stdin else None
        return Tracee.start(hardened, [command.program, *command.arguments], cwd=folder, stdin=stdin)

    with start() as tracee:
        calls = count_calls(tracee)
    assert calls > 5
    chance = random.Random(command.program)
    last = calls - 1
    points = [Point(last)]
    points += [Point(chance.randrange(last), chance.randrange(80), chance.randrange(60)) for _ in range(_POINTS - 1)]
    for point in points:
        result = experiment(start, point)
        assert result is not None, f"{point}: no region any more"
        assert result.right, (point, result.wrong[:20], dict(result.where), result.others)
        assert result.changed
