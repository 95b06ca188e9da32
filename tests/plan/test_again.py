"""Patched again: each region remembers what it asked for, and takes it along when it goes."""

from __future__ import annotations

import subprocess

import pytest

from stemrw.documents.fault_report import Block, FaultClass, FaultReport, Frame, Location, ModuleInfo
from stemrw.documents.localization import Localization
from stemrw.documents.manifest import Manifest
from stemrw.documents.plan import Plan
from stemrw.documents.rules import AnyRule, Escalate, GuardSite, Strategy
from stemrw.image import Image
from stemrw.localize import identity, localize
from stemrw.plan import asked_errno, asked_out, file_rules, plan, remembered, strategy_rules, wish, without
from stemrw.rewrite import rewrite

SOURCE = """
#include <stdlib.h>
int *volatile sink;
__attribute__((noipa)) int divides(int a, int b) { return a / b; }
__attribute__((noipa)) int overruns(int n) { sink = malloc(n); return sink[n]; }
__attribute__((noipa)) int smashes(int n) { volatile char room[8]; room[n] = 1; return room[0]; }
__attribute__((noipa)) int record(int n) {
    int a = divides(n, n - 1);
    if (a < 0) return -1;
    int b = overruns(n);
    if (b < 0) return -1;
    int c = smashes(n);
    if (c < 0) return -1;
    return a + b + c;
}
int main(int argc, char **argv) { int all = 0; for (int i = 0; i < argc; i++) all += record(i) < 0; return all; }
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("again")
    (folder / "p.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O2", "-w", "-fno-stack-protector", "p.c", "-o", "p"], cwd=folder, check=True)
    return Image.open(folder / "p")


def _fault(image: Image, name: str, kind: FaultClass, block: Block | None = None) -> Localization:
    """At the beginning of a function, called by `record`, called by `main`."""
    module = ModuleInfo(path=str(image.path), sha256=image.sha256)
    function, record = (image.functions_named(each)[0] for each in (name, "record"))
    behind = next(site.end for site, caller in image.callers(function) if caller.entry == record.entry)
    outer = next(site.end for site, _ in image.callers(record))
    pc = Location(module=module.path, address=function.entry)
    frames = [Frame(**pc.model_dump(), return_address=False)]
    frames += [Frame(module=module.path, address=address) for address in (behind, outer)]
    return localize(
        FaultReport(fault_class=kind, program=module, modules=(module,), pc=pc, block=block, backtrace=tuple(frames)),
        image,
    )


@pytest.fixture(scope="module")
def faults(image: Image) -> dict[str, Localization]:
    """Two that ask for heap guards (one for those below the block), one for checked returns, one for nothing."""
    return {
        "divide": _fault(image, "divides", "divide"),
        "overflow": _fault(image, "overruns", "heap-overflow"),
        "underflow": _fault(image, "divides", "heap-overflow", Block(offset=-1)),
        "smash": _fault(image, "smashes", "stack-smash"),
    }


def _bytes(planned: Plan, image: Image) -> bytes:
    return rewrite(image.elf, planned).data


def _kept(planned: Plan, image: Image) -> Manifest:
    """As it comes out of the manifest's file."""
    return Manifest.model_validate_json(rewrite(image.elf, planned).manifest.to_json())


def _reverted(planned: Plan, image: Image, *unwanted: int) -> Plan:
    rest = without(remembered(_kept(planned, image)), unwanted)
    return Plan(binary=identity(image), regions=rest, rules=file_rules(rest))


def _chosen(fault: Localization) -> int:
    assert fault.frames[fault.start].function is not None
    return fault.frames[fault.start].function or 0


NAMES = ("divide", "overflow", "smash", "underflow")
PAIRS = [(a, b) for a in NAMES for b in NAMES if a != b and {a, b} != {"divide", "underflow"}]  # these share a region


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_taken_out_again_it_was_never_there(
    image: Image, faults: dict[str, Localization], first: str, second: str
) -> None:
    one = plan(faults[first], image)
    both = plan(faults[second], image, known=remembered(_kept(one, image)))
    assert _bytes(both, image) == _bytes(plan([faults[first], faults[second]], image), image)
    assert _bytes(both, image) == _bytes(plan([faults[second], faults[first]], image), image)
    for gone, left in ((second, first), (first, second)):
        rest = _reverted(both, image, _chosen(faults[gone]))
        assert _bytes(rest, image) == _bytes(plan(faults[left], image), image)


def test_guards_stay_as_long_as_somebody_asks(image: Image, faults: dict[str, Localization]) -> None:
    both = plan([faults["overflow"], faults["underflow"]], image)
    assert [rule.below for rule in both.rules if isinstance(rule, GuardSite)] == [False, True]
    rest = _reverted(both, image, _chosen(faults["underflow"]))
    assert [rule.below for rule in rest.rules if isinstance(rule, GuardSite)] == [False]
    assert [rule.kind for rule in rest.rules] == ["guard-access", "guard-site"]


def test_what_is_said_twice_is_written_once(image: Image, faults: dict[str, Localization]) -> None:
    """Two faults that ask for the same, for different reasons."""
    late = faults["overflow"].model_copy(update={"fault_class": "use-after-free"})
    both = plan([faults["overflow"], late], image)
    assert _bytes(both, image) == _bytes(plan(faults["overflow"], image), image)
    assert [rule.kind for rule in both.rules] == ["guard-access", "guard-site"]


@pytest.mark.parametrize("guard", ["none", "stack"])
def test_guard_takes_the_place_of_what_the_region_asked(
    image: Image, faults: dict[str, Localization], guard: str
) -> None:
    fault = faults["overflow"]
    choice = {"guard": guard}
    armed = plan(fault, image)
    assert armed.rules
    again = plan(fault, image, known=remembered(_kept(armed, image)), **choice)  # type: ignore[arg-type]
    assert _bytes(again, image) == _bytes(plan(fault, image, **choice), image)  # type: ignore[arg-type]
    beside = plan(fault, image, known=plan(faults["underflow"], image).regions, guard="none")
    assert [rule.below for rule in beside.rules if isinstance(rule, GuardSite)] == [True]


@pytest.mark.parametrize("name", ["die", "oblivious", "retry"])
def test_strategy_return_is_the_default_again(image: Image, faults: dict[str, Localization], name: str) -> None:
    fault = faults["divide"]
    first = plan(fault, image, strategy=strategy_rules(name, image))
    again = plan(fault, image, known=remembered(_kept(first, image)), strategy=strategy_rules("return", image))
    assert _bytes(again, image) == _bytes(plan(fault, image), image)


def test_a_retry_has_no_nets_of_an_earlier_patch(image: Image, faults: dict[str, Localization]) -> None:
    fault, retry = faults["divide"], strategy_rules("retry", image)
    nets = plan(fault, image)
    assert len(nets.regions) > 1
    alone = plan(fault, image, known=remembered(_kept(nets, image)), strategy=retry)
    assert _bytes(alone, image) == _bytes(plan(fault, image, strategy=retry), image)
    assert len(alone.regions) == 1
    again = plan(fault, image, known=remembered(_kept(alone, image)))
    assert again.regions == alone.regions, "who says nothing of it gets no nets either"


def test_nets_of_another_region_stay(image: Image, faults: dict[str, Localization]) -> None:
    both = plan([faults["divide"], faults["smash"]], image)
    retry = plan(faults["divide"], image, known=both.regions, strategy=strategy_rules("retry", image))
    served = {region.address: region.serves for region in retry.regions}
    assert all(_chosen(faults["smash"]) in who for where, who in served.items() if where != _chosen(faults["divide"]))
    assert set(served) == {region.address for region in both.regions}
    (rule,) = (rule for region in retry.regions for rule in region.rules if isinstance(rule, Strategy))
    assert "with one thread an ordinary rescue: the region lies inside another one, " in rule.why


def test_the_last_word_counts_and_the_rest_stays(image: Image, faults: dict[str, Localization]) -> None:
    fault = faults["divide"]
    said = {"outputs": [asked_out("0:8=1"), asked_errno("EIO", image)], "budgets": [wish("77")], "return_value": 5}
    first = plan(fault, image, **said)  # type: ignore[arg-type]
    again = plan(fault, image, known=first.regions, outputs=[asked_errno("EPERM", image)], budgets=[wish("78")])
    last = {**said, "outputs": [asked_out("0:8=1"), asked_errno("EPERM", image)], "budgets": [wish("78")]}
    assert _bytes(again, image) == _bytes(plan(fault, image, **last), image)  # type: ignore[arg-type]


def test_no_escalate_takes_it_away(image: Image, faults: dict[str, Localization]) -> None:
    fault = faults["divide"]
    first = plan(fault, image)
    assert any(isinstance(rule, Escalate) for region in first.regions for rule in region.rules)
    again = plan(fault, image, known=first.regions, escalate=False)
    assert _bytes(again, image) == _bytes(plan(fault, image, escalate=False), image)


def test_rules_that_nobody_asks_for_all_ask_for(image: Image, faults: dict[str, Localization]) -> None:
    """A manifest that was edited, or that an earlier version has written."""
    planned = plan([faults["overflow"], faults["smash"]], image)
    forgotten = _kept(planned, image).model_copy(
        update={"regions": tuple(r.model_copy(update={"asks": (), "serves": ()}) for r in planned.regions)}
    )
    regions = remembered(forgotten)
    rules: tuple[AnyRule, ...] = file_rules(regions)
    assert {rule.subject() for rule in rules} == {rule.subject() for rule in planned.rules}
    assert without(regions, {regions[0].address}) == regions[1:]
