"""Which functions become regions, and what they return: each rule of docs/plan.md on code that has its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from elf_programs import compile_program, stripped, symbols

from stemrw.documents.localization import Localization, LocalizedFrame
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.errors import LocalizationError
from stemrw.image import Image
from stemrw.localize import identity, localize
from stemrw.plan import plan

MINUS_ONE = 0xFFFF_FFFF_FFFF_FFFF

CALLERS = {
    # name of the callee: what its caller does with the result
    "negative": "test %eax, %eax\n js 1f\n mov $7, %ebx\n1: mov %ebx, %eax",
    "minus_one": "cmp $-1, %eax\n je 1f\n mov $7, %ebx\n1: mov %ebx, %eax",
    "pointer": "test %rax, %rax\n je 1f\n mov (%rax), %ebx\n1: mov %ebx, %eax",
    "truth": "test %al, %al\n jne 1f\n mov $7, %ebx\n1: mov %ebx, %eax",
    "ignored": "xor %eax, %eax",
    "number": "movsd %xmm0, shared(%rip)\n xor %eax, %eax",
    "used": "mov (%rax), %ebx\n mov %ebx, %eax",
    "moved": "mov %rax, %rbx\n lea shared(%rip), %rdi\n call leaf\n movzbl 3(%rbx), %eax",
    "handed": "mov %rax, %rdi\n call reader\n xor %eax, %eax",
    "sentinel": "cmp %rax, shared(%rip)\n je 1f\n mov (%rax), %ebx\n1: mov %ebx, %eax",
    "status": "test %eax, %eax\n jne 1f\n mov $7, %ebx\n1: mov %ebx, %eax",
    "retried": "mov shared(%rip), %rbx\n test %rax, %rax\n jne 2b\n xor %eax, %eax",
    "counted": "dec %r12\n jne 2b\n xor %eax, %eax",
}


def _function(name: str, body: str) -> str:
    return f"""
    .globl {name}
    .type {name}, @function
{name}:
    .cfi_startproc
{body}
    .cfi_endproc
    .size {name}, . - {name}
"""


_FRAME = "push %rbx\n .cfi_adjust_cfa_offset 8"
_BACK = "pop %rbx\n .cfi_adjust_cfa_offset -8\n ret"


def _source() -> str:
    text = "    .text\n"
    text += _function("leaf", "ret")
    text += _function("reader", "mov (%rdi), %eax\n ret")
    for name, use in CALLERS.items():
        body = "mov (%rdi), %eax\n ret"
        if name == "status":
            body = "test %rdi, %rdi\n je 1f\n mov (%rdi), %ecx\n xor %eax, %eax\n ret\n1: mov $-1, %eax\n ret"
        text += _function(name, body)
        call = f"2: mov shared(%rip), %rdi\n call {name}\n .globl behind_{name}\nbehind_{name}:\n"
        text += _function(f"calls_{name}", f"{_FRAME}\n{call}{use}\n{_BACK}")
        text += _function(f"above_{name}", f"{_FRAME}\n call calls_{name}\n .globl up_{name}\nup_{name}:\n{_BACK}")
    text += _function("early", "test %rdi, %rdi\n je 1f\n mov (%rdi), %eax\n ret\n1: or $-1, %eax\n ret")
    text += _function("fatal", "push %rax\n .cfi_adjust_cfa_offset 8\n call abort@PLT")
    text += _function("checks", f"{_FRAME}\n call fatal\n .globl behind_fatal\nbehind_fatal:\n{_BACK}")
    text += _function("recurse", f"{_FRAME}\n call element\n .globl in_recurse\nin_recurse:\n{_BACK}")
    text += _function(
        "element", f"{_FRAME}\n dec %edi\n je 1f\n call recurse\n .globl in_element\nin_element:\n1: {_BACK}"
    )
    text += _function("enters", f"{_FRAME}\n call recurse\n .globl in_enters\nin_enters:\n{_BACK}")
    calls = "".join(f" call above_{name}\n" for name in CALLERS)
    text += _function("main", f"{_FRAME}\n call enters\n .globl in_main\nin_main:\n call checks\n{calls}{_BACK}")
    return text + '    .data\n    .globl shared\nshared: .quad 0, 0\n    .section .note.GNU-stack, "", @progbits\n'


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("plan"), _source(), name="results.S")


@pytest.fixture(scope="module")
def names(named: Path) -> dict[str, int]:
    return symbols(named)


@pytest.fixture(scope="module")
def image(named: Path) -> Image:
    return Image.open(stripped(named))


def localization(image: Image, *addresses: int, fault_class: str = "null-dereference", **fields: Any) -> Localization:
    """Frames with these addresses, the fault first, as localize makes them."""
    frames = []
    for index, address in enumerate(addresses):
        owner = image.owner(address - (index > 0))
        assert owner is not None
        function = owner.function
        frames.append(
            LocalizedFrame(
                index=index, address=address, function=function.entry, size=function.size, symbol=function.symbol
            )
        )
    return Localization(
        binary=identity(image),
        fault_class=fault_class,
        fault_pc=addresses[0],
        frames=tuple(frames),
        evidence=("the fault is here",),
        **fields,
    )


def primary(plan_: Plan) -> PlannedRegion:
    """The region that is meant to be rescued: the one that is no safety net."""
    (region,) = (r for r in plan_.regions if not any(w.startswith("safety net") for w in r.why))
    return region


def planned(image: Image, names: dict[str, int], name: str, **fields: Any) -> Plan:
    return plan(localization(image, names[name], names[f"behind_{name}"], names[f"up_{name}"], **fields), image)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("negative", "integer", MINUS_ONE),
        ("minus_one", "integer", MINUS_ONE),
        ("status", "integer", MINUS_ONE),
        ("pointer", "integer", 0),
        ("truth", "integer", 0),
        ("ignored", "void", 0),
        ("number", "double", 0),
    ],
)
def test_return_value_by_what_the_caller_does(
    image: Image, names: dict[str, int], name: str, kind: str, value: int
) -> None:
    region = primary(planned(image, names, name))
    assert region.address == names[name]
    assert (region.return_kind, region.return_value) == (kind, value)
    assert region.return_evidence


@pytest.mark.parametrize("name", ["used", "moved", "handed", "sentinel"])
def test_result_used_as_address_untested_moves_the_rescue_outwards(
    image: Image, names: dict[str, int], name: str
) -> None:
    region = primary(planned(image, names, name))
    assert region.address == names[f"calls_{name}"]
    assert any("used as an address without a test" in w for w in region.why)


def test_call_repeated_unchanged_moves_the_rescue_outwards(image: Image, names: dict[str, int]) -> None:
    """A caller that would make the same call again with the same memory would fault for ever."""
    region = primary(planned(image, names, "retried"))
    assert region.address == names["calls_retried"]
    assert any("for ever" in w for w in region.why)


def test_loop_that_counts_is_no_endless_retry(image: Image, names: dict[str, int]) -> None:
    assert primary(planned(image, names, "counted")).address == names["counted"]


def test_early_exits_say_what_failure_is(image: Image, names: dict[str, int]) -> None:
    """Without a known call: no caller tests the result, the function returns -1 for itself."""
    region = primary(plan(localization(image, names["early"], pinned=True), image))
    assert region.return_value == MINUS_ONE
    assert any("early exits" in each for each in region.return_evidence)


def test_function_that_never_returns_is_skipped(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(localization(image, names["fatal"], names["behind_fatal"], fault_class="abort"), image))
    assert region.address == names["checks"]


def test_caller_is_a_safety_net(image: Image, names: dict[str, int]) -> None:
    result = planned(image, names, "negative")
    assert {r.address for r in result.regions} == {names["negative"], names["calls_negative"]}
    nets = [r for r in result.regions if r.why[0].startswith("safety net")]
    assert [r.address for r in nets] == [names["calls_negative"]]
    assert nets[0].check_address is None and nets[0].check_class is None


def test_damaged_memory_adds_the_outermost_function(image: Image, names: dict[str, int]) -> None:
    frames = (names["negative"], names["behind_negative"], names["up_negative"], names["in_main"])
    result = plan(localization(image, *frames, fault_class="wild-dereference"), image)
    assert {r.address for r in result.regions} == {names[n] for n in ("negative", "calls_negative", "main")}
    narrow = plan(localization(image, *frames, fault_class="wild-dereference"), image, nets=False)
    assert [r.address for r in narrow.regions] == [names["negative"]]


def test_recursion_is_ended_by_one_error_value(image: Image, names: dict[str, int]) -> None:
    """The function called from the outermost one of the cycle: its caller handles nested elements."""
    cycle = [names["in_element"], names["in_recurse"]] * 5
    frames = [names["recurse"], *cycle, names["in_enters"], names["in_main"]]
    result = plan(localization(image, *frames, fault_class="stack-exhaustion"), image)
    region = primary(result)
    assert region.address == names["element"]
    assert {r.address for r in result.regions} == {names["element"], names["enters"]}


def test_pinned_function_is_the_only_region(image: Image, names: dict[str, int]) -> None:
    result = plan(localize(None, image, region=hex(names["used"])), image)
    assert [r.address for r in result.regions] == [names["used"]]
    assert "named by the user" in result.regions[0].why[0]


def test_return_option_overrides_the_rescued_region_only(image: Image, names: dict[str, int]) -> None:
    result = plan(
        localization(image, names["negative"], names["behind_negative"], names["up_negative"]), image, return_value=-22
    )
    region = primary(result)
    assert (region.return_value, region.return_evidence) == ((-22) & MINUS_ONE, ("--return -22",))
    assert all(r.return_evidence != ("--return -22",) for r in result.regions if r is not region)


def test_check_is_at_the_fault(image: Image, names: dict[str, int]) -> None:
    region = primary(planned(image, names, "negative"))
    assert (region.check_address, region.check_class) == (names["negative"], "null-dereference")


def test_main_returns_the_exit_status_of_failure(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(localization(image, names["in_main"]), image))
    assert (region.address, region.return_value) == (names["main"], 1)


def test_several_faults_in_one_plan(image: Image, names: dict[str, int]) -> None:
    one = localization(image, names["negative"], names["behind_negative"], names["up_negative"])
    other = localization(image, names["truth"], names["behind_truth"], names["up_truth"])
    result = plan([one, other, one], image)
    assert [r.address for r in result.regions] == sorted(
        names[n] for n in ("negative", "calls_negative", "truth", "calls_truth")
    )
    with pytest.raises(LocalizationError):
        plan([], image)


def test_digest_depends_on_what_is_done_only(image: Image, names: dict[str, int]) -> None:
    result = planned(image, names, "negative")
    moved = result.model_copy(update={"binary": result.binary.model_copy(update={"path": "/elsewhere"})})
    said = tuple(r.model_copy(update={"why": ("other words",)}) for r in result.regions)
    assert result.digest() == moved.digest() == result.model_copy(update={"regions": said}).digest()
    other = tuple(r.model_copy(update={"return_value": 5}) for r in result.regions)
    assert result.digest() != result.model_copy(update={"regions": other}).digest()
    assert Plan.model_validate_json(result.model_dump_json(by_alias=True)) == result


DECLARED = """
#include <stdlib.h>
volatile int sink;
__attribute__((noinline)) int fails_negative(const int *p) { return *p + 1; }
__attribute__((noinline)) unsigned fails_zero(const int *p) { return (unsigned)*p + 2u; }
__attribute__((noinline)) const int *fails_null(const int **p) { return *p + 1; }
__attribute__((noinline)) _Bool fails_false(const int *p) { return *p == 3; }
__attribute__((noinline)) void fails_silently(const int *p) { sink = *p; }
__attribute__((noinline)) double fails_with_zero(const int *p) { return *p * 0.5; }
int main(int argc, char **argv) {
    const int *p = (const int *)argv;
    if (fails_negative(p)) sink = 1;
    if (fails_zero(p)) sink = 2;
    if (fails_null(&p)) sink = 3;
    if (fails_false(p)) sink = 4;
    fails_silently(p);
    sink = (int)fails_with_zero(p);
    return argc;
}
"""


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image.open(compile_program(tmp_path_factory.mktemp("declared"), DECLARED, "-g", name="declared.c"))


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("fails_negative", "integer", MINUS_ONE),
        ("fails_zero", "integer", 0),
        ("fails_null", "integer", 0),
        ("fails_false", "integer", 0),
        ("fails_silently", "void", 0),
        ("fails_with_zero", "double", 0),
    ],
)
def test_return_value_by_declared_type(declared: Image, name: str, kind: str, value: int) -> None:
    (region,) = plan(localize(None, declared, region=name), declared).regions
    assert (region.symbol, region.return_kind, region.return_value) == (name, kind, value)
    assert any(said.startswith("DWARF") for said in region.return_evidence)


@pytest.mark.parametrize(
    ("name", "asked", "kind", "pattern"),
    [
        ("fails_negative", 1.5, "double", 0x3FF8_0000_0000_0000),
        ("fails_negative", -1, "integer", MINUS_ONE),
        ("fails_with_zero", 1, "double", 0x3FF0_0000_0000_0000),
        ("fails_with_zero", -0.5, "double", 0xBFE0_0000_0000_0000),
    ],
)
def test_number_that_is_asked_for_is_returned_as_what_it_is(
    declared: Image, name: str, asked: int | float, kind: str, pattern: int
) -> None:
    (region,) = plan(localize(None, declared, region=name), declared, return_value=asked).regions
    assert (region.return_kind, region.return_value) == (kind, pattern)
    assert region.return_evidence == (f"--return {asked}",)
