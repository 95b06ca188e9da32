"""`stemrw patch --strategy`: which rules a region gets."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

from stemrw.documents.rules import GENERAL_REGISTERS, STRATEGIES, Budget, SliceSet, Strategy
from stemrw.errors import LocalizationError, UsageError
from stemrw.image import Image
from stemrw.localize import localize
from stemrw.plan import plan, strategy_rules
from stemrw.plan._choose import choose
from stemrw.runtime import load_image

SOURCE = """
__attribute__((noipa)) int work(int *p) { return *p + 1; }
__asm__(".globl again\\n.type again, @function\\nagain:\\n mov (%rdi), %rdi\\n test %rdi, %rdi\\n jne again\\n ret\\n"
        ".size again, . - again\\n");
int main(int argc, char **argv) { return work(&argc); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strategy")
    (folder / "p.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-w", "p.c", "-o", "p"], cwd=folder, check=True)
    return folder / "p"


def test_numbers_are_the_runtimes() -> None:
    constants = load_image().constants
    names = {name: constants[f"STRATEGY_{name.upper().replace('-', '_')}"] for name in STRATEGIES}
    assert names == {name: number for number, name in enumerate(STRATEGIES)}
    assert GENERAL_REGISTERS[4] == "rsp" and len(GENERAL_REGISTERS) == 16
    assert get_args(SliceSet.model_fields["register_name"].annotation) == GENERAL_REGISTERS


@pytest.mark.parametrize("name", ["die", "oblivious", "retry", "end-thread", "end-child"])
def test_the_regions_rule(program: Path, name: str) -> None:
    image = Image.open(program)
    done = plan(localize(None, image, region="work"), image, strategy=strategy_rules(name, image))
    (rule,) = done.regions[0].rules
    assert isinstance(rule, Strategy) and rule.name == name and rule.why == f"--strategy {name}"
    assert rule.values()[0] == STRATEGIES.index(name)


def test_a_later_strategy_replaces_the_one_before_and_nothing_else(program: Path) -> None:
    image = Image.open(program)
    place = localize(None, image, region="work")
    budget = Budget(ticks=5)
    first = plan(place, image, strategy=(budget, *strategy_rules("die", image)))
    second = plan(place, image, known=first.regions, strategy=strategy_rules("oblivious", image))
    kept = [rule.name for rule in second.regions[0].rules if isinstance(rule, Strategy)]
    assert kept == ["oblivious"] and budget in second.regions[0].rules
    third = plan(place, image, known=second.regions)
    assert third.regions[0].rules == second.regions[0].rules


def test_the_default_is_no_rule(program: Path) -> None:
    assert strategy_rules("return", Image.open(program)) == ()


@pytest.mark.parametrize("name", ["", "slice", "pray"])
def test_unknown_strategy(program: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no such strategy"):
        strategy_rules(name, Image.open(program))


def test_no_retry_of_a_function_that_jumps_back_to_its_entry(program: Path) -> None:
    image = Image.open(program)
    with pytest.raises(LocalizationError, match="jumps back to its own entry"):
        plan(localize(None, image, region="again"), image, strategy=strategy_rules("retry", image))


def test_no_end_of_threads_in_a_static_program_without_it(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-w", "-static", "p.c", "-o", "p"], cwd=tmp_path, check=True)
    image = Image.open(tmp_path / "p")
    if image.functions_named("pthread_exit"):
        pytest.skip("this C library links it always")
    with pytest.raises(UsageError, match="pthread_exit"):
        strategy_rules("end-thread", image)


@pytest.mark.parametrize(("name", "nets"), [("retry", False), ("oblivious", True)])
def test_retry_has_no_safety_nets(program: Path, monkeypatch: pytest.MonkeyPatch, name: str, nets: bool) -> None:
    """A region around it would keep it from running again."""
    image, asked = Image.open(program), []

    def spy(*arguments: Any, **named: Any) -> Any:
        asked.append(named["nets"])
        return choose(*arguments, **named)

    monkeypatch.setattr("stemrw.plan._plan.choose", spy)
    plan(localize(None, image, region="work"), image, strategy=strategy_rules(name, image))
    assert asked == [nets]
