"""Every instruction form of this processor does in a region what it does natively, and a rollback undoes it.

Fixed seeds, one case of every form; the long campaign is scripts/equivalence.  Tests are named after what holds.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from equivalence.campaign import FIRST, Result, build_host, run, run_batch
from equivalence.cases import CASES, instance
from equivalence.forms import CODES, forms, is_native
from harness import Tool
from iced_x86 import Code

TRIALS = 20
WITH_THREAD = 6
_NOT_CARRIED = {"unsupported", "unknown-instruction"}


@pytest.fixture(scope="module")
def result(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """All forms on one thread, and once more with another thread alive, where the log is exact to the byte."""
    folder = tmp_path_factory.mktemp("equivalence")
    host, total = build_host(tool, folder), Result()
    for thread, trials in ((False, TRIALS), (True, WITH_THREAD)):
        for batch in run(host, forms(), folder, seed=2026 + thread, each=1, trials=trials, thread=thread):
            total.merge(batch)
    return total


def _differences(result: Result, *ways: str) -> list[str]:
    return [str(difference) for difference in result.differences if difference.way in ways]


def test_the_host_runs_every_batch_to_its_end(result: Result) -> None:
    assert result.failures == []


def test_every_form_ends_as_natively(result: Result) -> None:
    assert _differences(result, "committed", "degraded", "left") == []


def test_a_rollback_restores_memory_and_all_registers_but_the_result(result: Result) -> None:
    assert _differences(result, "rolled-back", "rescued") == []


def test_a_fault_is_delivered_with_the_original_pc_and_state(result: Result) -> None:
    assert _differences(result, "observed") == []


def test_the_regions_were_really_emulated(result: Result) -> None:
    """By the runtime's own counters: entered for each trial, left early by few."""
    trials = result.total("trials")
    assert len(result.offered) > 1500, "a processor with AVX2 has more forms"
    assert result.entries >= trials
    assert result.total("faults") > trials / 50
    assert result.total("rolled_back") > trials * 0.8
    assert sum(sum(reasons.values()) for reasons in result.degraded.values()) < trials * 0.05


def test_only_known_forms_run_natively(result: Result) -> None:
    known = {CODES[code] for code in forms() if is_native(code)}
    natively = {form for form, reasons in result.degraded.items() if reasons.keys() & _NOT_CARRIED}
    assert sorted(natively.intersection(result.offered) - known) == []


def test_the_comparison_finds_differences(tool: Tool, tmp_path: Path) -> None:
    """A clock compared like any other value is never the same twice."""
    case = instance(Code.RDTSC, CASES + FIRST, random.Random(1))
    assert case is not None and case.ignored
    case.ignored, case.unsteady = 0, False
    found = run_batch(build_host(tool, tmp_path), [case], tmp_path / "batch", seed=1, trials=3)
    assert found.failures == []
    assert [difference.way for difference in found.differences] == ["committed"] * 3
