"""The table of whole programs (tests/programs), each with `main` as region, under a debugger instead of beside one."""

from __future__ import annotations

import random
import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from campaign import Program, Runner, can_bind
from harness import Tool, ToolError
from rollback import Comparison, Point, count_calls, experiment
from tracee import Ended, Lost, Tracee

_LARGEST_SERVICES, _LARGEST_STEPS = 10, 60
"""Behind a system call: up to 2 ** 10 requests to the runtime, evenly by their logarithm; instructions after these."""


class Stage(Runner):
    """Starts a program's lines hardened and traced, each time in a fresh copy of its folder."""

    def __init__(self, program: Program, tool: Tool, work: Path) -> None:
        super().__init__(program, work)
        self._hardened = work / "hardened"
        tool.patch(self.original, self._hardened, *program.options)
        self._path.joinpath(program.name).symlink_to(self.original if can_bind() else self._hardened)

    def start(self, line: str, seconds: float) -> Tracee:
        """One line, stopped once the hardened file is mapped."""
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run(["cp", "-a", self._template, self.folder], check=True)
        assignments, command = re.fullmatch(r"((?:\w+=\S* )*)(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
        launcher, bind = ["/bin/bash", "-c"], ""
        if can_bind():
            over = (self.folder / self.program.path).resolve()
            launcher = ["/usr/bin/unshare", "-m", *launcher]
            bind = shlex.join(["mount", "--bind", str(self._hardened), str(over)]) + " || exit 126; "
        return Tracee.start(
            Path(launcher[0]),
            [*launcher, f"{bind}{assignments}exec {command}"],
            cwd=self.folder,
            environment=self._environment(),
            seconds=seconds,
            executes=2 if can_bind() else 1,
        )


@dataclass
class Account:
    """What came of one program's points."""

    program: Program
    points: int = 0
    compared: int = 0
    changed: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    """Bytes by mapping."""
    excluded: Counter[str] = field(default_factory=Counter)
    """Bytes by reason."""
    others: Counter[str] = field(default_factory=Counter)
    """Whatever else was not as before, and how often."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Points without a result, by reason."""
    failures: list[str] = field(default_factory=list)
    """How to see again what was wrong."""

    @property
    def right(self) -> bool:
        """Nothing is wrong."""
        return not self.wrong and not self.others

    def add(self, line: str, point: Point, found: Comparison) -> None:
        """Count the result of one point."""
        self.points += 1
        self.compared += found.compared
        self.changed += found.changed
        self.wrong += found.where
        self.excluded += found.excluded
        self.others.update(found.others)
        if not found.right:
            bytes_wrong = [f"{address:#x}: {was:02x} {now:02x}" for address, was, now in found.wrong[:8]]
            self.failures.append(f"{line}: {point}: {bytes_wrong} {found.others}")


def _points(calls: int, chance: random.Random) -> Iterator[Point]:
    yield Point(calls - 1)
    while True:
        services = int(2 ** chance.uniform(0, _LARGEST_SERVICES)) - 1
        yield Point(chance.randrange(max(1, calls - 1)), services, chance.randrange(_LARGEST_STEPS))


def judge(program: Program, tool: Tool, work: Path, count: int, seconds: float) -> Account:
    """Fault at `count` points of a program, spread over its lines; each run may take so many seconds."""
    account, chance = Account(program), random.Random(program.name)
    try:
        stage = Stage(program, tool, work)
        lines = program.lines[:count]
        share = -(-count // len(lines))
        for line in lines:
            with stage.start(line, seconds) as tracee:
                calls = count_calls(tracee)
            if not calls:
                account.skipped["no region"] += share
                continue
            for point, _ in zip(_points(calls, chance), range(share), strict=False):
                _try(account, stage, line, point, seconds)
    except (ToolError, OSError, ValueError, Ended, subprocess.SubprocessError) as error:
        account.skipped[str(error)] += 1
    return account


def _try(account: Account, stage: Stage, line: str, point: Point, seconds: float) -> None:
    try:
        found = experiment(lambda: stage.start(line, seconds), point)
    except Ended as ended:
        account.skipped[f"ended with {ended.status} before"] += 1
    except Lost:
        account.skipped["takes too long"] += 1
    else:
        if found is None:
            account.skipped["natively by then"] += 1
        else:
            account.add(line, point, found)
