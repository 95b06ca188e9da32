"""Budgets: what a hang or exhausted memory asks for, and what the user says instead."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stemrw.documents.fault_report import FaultReport, Frame, Hang, Location, ModuleInfo
from stemrw.documents.plan import Plan
from stemrw.documents.rules import Budget
from stemrw.errors import UsageError
from stemrw.image import Image
from stemrw.localize import localize
from stemrw.plan import plan, wish
from stemrw.plan._budget import merged

SOURCE = """
static volatile long zero;
__attribute__((noipa)) int inner(int n) { while (!zero) n++; return n < 0 ? -1 : n; }
__attribute__((noipa)) int middle(int n) { int r = inner(n); if (r == -1) return -1; return r + 1; }
__attribute__((noipa)) int outer(int n) { int r = middle(n); if (r == -1) return -1; return r + 2; }
int main(int argc, char **argv) { return outer(argc) == -1; }
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("budget")
    source, out = folder / "program.c", folder / "program"
    source.write_text(SOURCE)
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl"]
    subprocess.run([*compiler, "-O1", "-g", "-fno-sanitize=all", source, "-o", out], check=True)
    return Image.open(out)


def _report(image: Image, names: list[str], fault_class: str, hang: Hang | None) -> FaultReport:
    path = str(image.path)
    frames = []
    for i, name in enumerate(names):
        function = next(f for f in image.functions() if f.symbol == name)
        frames.append(Frame(module=path, address=function.entry + function.size - 1, return_address=i > 0))
    return FaultReport(
        fault_class=fault_class,
        program=ModuleInfo(path=path, sha256=image.sha256),
        modules=(ModuleInfo(path=path, sha256=image.sha256),),
        pc=Location(module=path, address=frames[0].address),
        backtrace=tuple(frames),
        hang=hang,
    )


def _budgets(planned: Plan) -> dict[str | None, Budget]:
    return {r.symbol: rule for r in planned.regions for rule in r.rules if isinstance(rule, Budget)}


def _hang(seconds: float) -> Hang:
    return Hang(limit="cpu", seconds=seconds, cpu_seconds=seconds, samples=10, spinning=True)


def test_hang_gives_the_region_a_share_and_its_nets_more_after_a_rescue(image: Image) -> None:
    found = _budgets(
        plan(localize(_report(image, ["inner", "middle", "outer", "main"], "hang", _hang(3)), image), image)
    )
    assert found["inner"].cpu_milliseconds == 1000
    assert not found["inner"].after_rescue
    nets = [budget for name, budget in found.items() if name != "inner"]
    assert nets
    assert all(budget.after_rescue and budget.cpu_milliseconds > 1000 for budget in nets)


def test_hang_in_main_may_take_as_long_as_was_seen(image: Image) -> None:
    found = _budgets(plan(localize(_report(image, ["main"], "hang", _hang(3)), image), image))
    assert found["main"].cpu_milliseconds == 3000


@pytest.mark.parametrize(("seconds", "milliseconds"), [(0.1, 250), (600, 5000)])
def test_derived_time_has_bounds(image: Image, seconds: float, milliseconds: int) -> None:
    found = _budgets(plan(localize(_report(image, ["inner", "middle"], "hang", _hang(seconds)), image), image))
    assert found["inner"].cpu_milliseconds == milliseconds


def test_report_by_hand_has_a_default(image: Image) -> None:
    found = _budgets(plan(localize(_report(image, ["inner", "middle"], "hang", None), image), image))
    assert found["inner"].cpu_milliseconds == 1000


def test_exhausted_memory_gives_a_budget_of_memory(image: Image) -> None:
    found = _budgets(plan(localize(_report(image, ["inner", "middle"], "memory-exhaustion", None), image), image))
    assert found["inner"] == found["inner"].model_copy(update={"cpu_milliseconds": 0, "ticks": 0})
    assert found["inner"].memory_bytes == 256 << 20


def test_other_classes_have_none(image: Image) -> None:
    assert not _budgets(plan(localize(_report(image, ["inner", "middle"], "divide", None), image), image))


def test_user_overrides_field_by_field(image: Image) -> None:
    localized = localize(_report(image, ["inner", "middle", "outer", "main"], "hang", _hang(3)), image)
    asked = [wish("5000"), wish("64MiB"), wish("middle=2s")]
    found = _budgets(plan(localized, image, budgets=asked))
    assert (found["inner"].ticks, found["inner"].memory_bytes, found["inner"].cpu_milliseconds) == (
        5000,
        64 << 20,
        1000,
    )
    assert (found["middle"].cpu_milliseconds, found["middle"].after_rescue) == (2000, False)


def test_without_report_a_budget_is_what_the_user_says(image: Image) -> None:
    found = _budgets(plan(localize(None, image, region="outer"), image, budgets=[wish("1.5s")]))
    assert found == {"outer": Budget(cpu_milliseconds=1500, why="--budget 1.5s")}


def test_budget_of_no_region_is_an_error(image: Image) -> None:
    with pytest.raises(UsageError, match="no such region"):
        plan(localize(None, image, region="outer"), image, budgets=[wish("inner=1s")])


@pytest.mark.parametrize("text", ["", "s", "12x", "-5", "1.5", "=", "inner=", "99999999999999999999", "1e3"])
def test_what_is_no_amount_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        wish(text)


def test_same_region_for_two_hangs_has_one_budget() -> None:
    net = Budget(cpu_milliseconds=8000, after_rescue=True, why="net")
    small, large = Budget(cpu_milliseconds=500, why="a"), Budget(cpu_milliseconds=900, ticks=7, why="b")
    assert merged([net, small, large]) == (Budget(cpu_milliseconds=900, ticks=7, why="a; b"),)
    assert merged([net, net]) == (net,)
