"""Every instruction form of this processor does in a region what it does natively, and a rollback undoes it.

Fixed seeds, one case of every form; the long campaign is scripts/equivalence.  Tests are named after what holds.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from equivalence.campaign import FIRST, Host, Result, build_host, run, run_batch
from equivalence.cases import CASES, describe, instance
from equivalence.forms import CODES, forms, is_native
from harness import Tool
from iced_x86 import Code

TRIALS = 20
WITH_THREAD = 6
_NOT_CARRIED = {"unsupported", "unknown-instruction"}


@pytest.fixture(scope="module")
def host(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """The program that runs the cases, hardened."""
    return build_host(tool, tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="module")
def result(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """All forms on one thread, and once more with another thread alive, where the log is exact to the byte."""
    folder, total = tmp_path_factory.mktemp("equivalence"), Result()
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


def test_forms_do_the_same_with_what_rules_put_around_them(tool: Tool, tmp_path: Path) -> None:
    """Counting for budgets, and the comparisons of the rule `stack` at stores, calls and returns."""
    host, total = build_host(tool, tmp_path, "--guard", "stack", "--budget", "0"), Result()
    for batch in run(host, forms(), tmp_path, seed=2028, each=1, trials=5):
        total.merge(batch)
    assert total.failures == []
    assert [str(difference) for difference in total.differences] == []
    assert total.total("rolled_back") > total.total("trials") * 0.8


FOUND = {
    "a string with 32-bit addresses, downwards": "6667f2ab",
    "a masked store that begins in memory that is not mapped": "2662a27e0f218cffda1bfaff",
    "a return to where no code is": "c3",
    "an instruction that is run natively, near the end of the stack": "400f014c24ed",
    "a segment prefix, which a string does not write with": "6467f3ab",
}
"""What campaigns have found and a few states of every form need not meet, by its encoding."""


@pytest.mark.parametrize("encoding", FOUND.values(), ids=FOUND.keys())
def test_what_was_found_before_stays_mended(encoding: str, host: Host, tmp_path: Path) -> None:
    case = describe(bytes.fromhex(encoding), CASES + FIRST, 16)
    assert case is not None
    for thread in (False, True):
        found = run_batch(host, [case], tmp_path / "batch", seed=1, trials=2000, thread=thread)
        assert [str(difference) for difference in found.differences] + found.failures == []


def test_the_comparison_finds_differences(host: Host, tmp_path: Path) -> None:
    """A clock compared like any other value is never the same twice."""
    case = instance(Code.RDTSC, CASES + FIRST, random.Random(1))
    assert case is not None and case.ignored
    case.ignored, case.unsteady = 0, False
    found = run_batch(host, [case], tmp_path / "batch", seed=1, trials=3)
    assert found.failures == []
    assert [difference.way for difference in found.differences] == ["committed"] * 3
