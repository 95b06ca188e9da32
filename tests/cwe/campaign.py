"""Judging many programs: in processes of their own, each program in a folder of its own."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

from cwe.judging import Verdict, alone, judge
from cwe.model import Program


def pool(jobs: int) -> ProcessPoolExecutor:
    """Processes that can `work`: they load the tool once, and follow the programs they start as `stemrw run` does."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork"), initializer=alone)


def work(program: Program, keep: Path | None = None, asan: bool = False) -> Verdict:
    """One program; its files are left in a folder of `keep`, if that is given."""
    folder = Path(keep or tempfile.gettempdir()) / f"stemrw-{program.name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return judge(program, folder, asan=asan)
    except Exception as error:  # one program must not end the others
        return Verdict(program.name, program.flaw.cwe, unusable=f"harness: {error!r}")
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def verdicts(
    wanted: Sequence[Program], jobs: int, keep: Path | None = None, *, asan: bool = False
) -> Iterator[Verdict]:
    """As they come; few are handed out at a time, so that an interruption is heard at once."""
    rest = iter(wanted)
    with pool(jobs) as workers:
        running = {workers.submit(work, program, keep, asan) for program in islice(rest, 2 * jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {workers.submit(work, program, keep, asan) for program in islice(rest, len(done))}
            yield from (each.result() for each in done)
