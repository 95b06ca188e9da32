"""Generated programs with known weaknesses: hardened they survive their bad records, and treat good ones as before.

A few per weakness, drawn by a fixed seed; `scripts/cwe` runs as many as wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from cwe.campaign import pool, work
from cwe.flaws import FLAWS
from cwe.flows import CONTRACTS, FLAVOURS, FLOWS
from cwe.generate import programs, source
from cwe.judging import Verdict, build
from cwe.model import Program
from cwe.table import complete, table

SAMPLE = [program for program in programs(sample=40, seed=7) if not program.flaw.name.endswith(("-near", "-quiet"))]
CHOSEN = [program for cwe in sorted({p.flaw.cwe for p in SAMPLE}) for program in
          [p for p in SAMPLE if p.flaw.cwe == cwe][:2]]  # fmt: skip
"""Two of each weakness; what overruns by little goes unnoticed natively more often than not."""


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    """A process in which programs are judged."""
    with pool(1) as found:
        yield found


@pytest.mark.parametrize("program", CHOSEN, ids=lambda program: program.name)
def test_bad_variant_survives_and_good_variants_are_identical(
    worker: ProcessPoolExecutor, tmp_path: Path, program: Program
) -> None:
    verdict = worker.submit(work, program, tmp_path).result()
    assert not verdict.unusable
    assert verdict.fault, "the bad variant does not crash natively"
    assert verdict.good, verdict.detail
    assert verdict.survived, verdict.detail


OUTCOMES = (
    ("int", "simple", "status", "stripped"),
    ("rounded", "global", "status", "fortified"),
    ("strcmp", "call", "errno", "stripped"),
    ("double-to-int", "returned-call", "errno", "debug"),
    ("self", "simple", "negative", "stripped-plain"),
    ("three", "pointer", "size", "fortified"),
)
"""Programs whose callers take the wrong value, or no errno, for success: flaw, flow, contract, flavour."""


@pytest.mark.parametrize(("flaw", "flow", "contract", "flavour"), OUTCOMES, ids="--".join)
def test_caller_is_told_of_the_error_as_it_expects(
    worker: ProcessPoolExecutor, tmp_path: Path, flaw: str, flow: str, contract: str, flavour: str
) -> None:
    """Not only survived: the bad record is refused, line by line as by the program that tests its data."""
    program = Program(
        next(each for each in FLAWS if each.name == flaw and each.cwe in (369, 476, 674)),
        next(each for each in FLOWS if each.name == flow),
        next(each for each in CONTRACTS if each.name == contract),
        next(each for each in FLAVOURS if each.name == flavour),
    )
    verdict = worker.submit(work, program, tmp_path).result()
    assert verdict.survived and verdict.outcome and verdict.good, verdict.detail


def test_what_goes_unnoticed_is_no_crash(worker: ProcessPoolExecutor, tmp_path: Path) -> None:
    """A block that is read two elements too far ends in its neighbour: nothing is patched, and nothing counted."""
    flaw = next(flaw for flaw in FLAWS if flaw.cwe == 126 and flaw.name == "heap-words-near")
    verdict = worker.submit(work, Program(flaw, FLOWS[0], CONTRACTS[0], FLAVOURS[1]), tmp_path).result()
    assert (verdict.fault, verdict.survived, verdict.unusable) == ("", False, "")


@pytest.mark.parametrize("number", range(len(FLOWS)), ids=lambda number: FLOWS[number].name)
def test_every_flow_builds(tmp_path: Path, number: int) -> None:
    """With one contract each, in turn."""
    flaw = next(flaw for flaw in FLAWS if flaw.name == "strcpy")
    program = Program(flaw, FLOWS[number], CONTRACTS[number % len(CONTRACTS)], FLAVOURS[0])
    assert build(program, tmp_path, ("-fsyntax-only",)).program is program


def test_same_seed_gives_same_programs() -> None:
    """Names, order and text; another seed gives others."""
    one, two = programs(sample=9, seed=3), programs(sample=9, seed=3)
    assert [(p.name, source(p)) for p in one] == [(p.name, source(p)) for p in two]
    assert [p.name for p in programs(sample=9, seed=4)] != [p.name for p in one]
    names = [program.name for program in programs()]
    assert len(set(names)) == len(names)


def test_table_counts_only_what_crashes() -> None:
    """Shares are of the programs that crash natively; unusable ones are in no column."""
    made = [
        Verdict("a", 121, fault="abort", survived=True, outcome=True, good=True),
        Verdict("b", 121, fault="abort", good=True),
        Verdict("c", 121),
        Verdict("d", 121, unusable="does not compile"),
    ]
    assert table(made).splitlines()[1].split() == ["CWE-121", "3", "2", "1", "(50.0", "%)", "1", "(50.0", "%)", "2",
                                                   "(100.0", "%)"]  # fmt: skip
    assert [complete(verdict) for verdict in made] == [True, False, True, False]
