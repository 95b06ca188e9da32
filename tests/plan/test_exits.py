"""Which side of a test for zero is the error, and where errno lies: code as gcc writes it, one function per shape."""

from __future__ import annotations

from pathlib import Path

import pytest
from elf_programs import compile_program, stripped, symbols
from plan.test_evidence import MINUS_ONE, primary

from stemrw.documents.fault_report import FaultClass
from stemrw.documents.localization import Localization, LocalizedFrame
from stemrw.documents.rules import SetErrno, Strategy
from stemrw.image import Image
from stemrw.localize import identity
from stemrw.plan import plan, strategy_rules

SOURCE = r"""
.intel_syntax noprefix
.text
.macro FUNCTION name
.globl \name
.type \name, @function
\name:
.cfi_startproc
.endm
.macro END name
.cfi_endproc
.size \name, . - \name
.endm

/* What all callers do: a test for zero, and branches that say nothing. */
.macro CALLER name
FUNCTION calls_\name
    push rbx
    call \name
.globl behind_\name
behind_\name:
    test eax, eax
    jne 1f
    inc dword ptr [rip + total]
    pop rbx
    ret
1:  dec dword ptr [rip + total]
    pop rbx
    ret
END calls_\name
.endm

FUNCTION code                       /* if (!p) return 3; total += *p; return 0; */
    test rdi, rdi
    je 1f
.globl at_code
at_code:
    mov eax, dword ptr [rdi]
    add dword ptr [rip + total], eax
    xor eax, eax
    ret
1:  mov eax, 3
    ret
END code
CALLER code

FUNCTION truth                      /* if (!p) return 0; total += *p; return 1; */
    xor eax, eax
    test rdi, rdi
    je 1f
.globl at_truth
at_truth:
    mov ecx, dword ptr [rdi]
    add dword ptr [rip + total], ecx
    mov eax, 1
1:  ret
END truth
CALLER truth

FUNCTION tested                     /* int closed = state; if (closed) return 3; total += *p; return 0 in a register */
    push rbx
    mov ebx, dword ptr [rip + total]
    test ebx, ebx
    jne 1f
.globl at_tested
at_tested:
    mov eax, dword ptr [rdi]
    call helper
    mov eax, ebx
    pop rbx
    ret
1:  mov ebx, 3
    mov eax, ebx
    pop rbx
    ret
END tested
CALLER tested

FUNCTION thrower                    /* it can only return 0 */
    sub rsp, 8
.globl at_thrower
at_thrower:
    mov eax, dword ptr [rdi]
    call helper
    xor eax, eax
    add rsp, 8
    ret
END thrower
CALLER thrower

FUNCTION data                       /* what it returns is computed */
.globl at_data
at_data:
    mov eax, dword ptr [rdi]
    ret
END data
CALLER data

FUNCTION canary                     /* the check of the stack protector fails, behind all that the function does */
    sub rsp, 24
    mov rax, qword ptr fs:[40]
    mov qword ptr [rsp + 8], rax
    mov eax, 3
    test rdi, rdi
    je 1f
    call helper
    xor eax, eax
1:  mov rdx, qword ptr [rsp + 8]
    sub rdx, qword ptr fs:[40]
    jne 2f
    add rsp, 24
    ret
2:  call __stack_chk_fail@PLT
.globl at_canary
at_canary:
END canary
CALLER canary

FUNCTION unseen                     /* as code, but entered through pointers only */
    test rdi, rdi
    je 1f
.globl at_unseen
at_unseen:
    mov eax, dword ptr [rdi]
    xor eax, eax
    ret
1:  mov eax, 3
    ret
END unseen

FUNCTION helper
    inc dword ptr [rip + total]
    ret
END helper

.macro ASKS_ERRNO
    call __errno_location@PLT
    mov dword ptr [rax], 0
    mov rbx, rax
.endm

FUNCTION quiet
.globl at_quiet
at_quiet:
    mov eax, dword ptr [rdi]
    ret
END quiet

FUNCTION calls_quiet                /* errno = 0; if (quiet(p) == -1 && errno) total++; */
    push rbx
    ASKS_ERRNO
    call quiet
.globl behind_quiet
behind_quiet:
    cmp eax, -1
    jne 1f
    call helper                     /* it calls nothing, so it leaves errno alone */
    mov ecx, dword ptr [rbx]
    test ecx, ecx
    je 1f
    inc dword ptr [rip + total]
1:  pop rbx
    ret
END calls_quiet

FUNCTION hushed
.globl at_hushed
at_hushed:
    mov eax, dword ptr [rdi]
    ret
END hushed

FUNCTION calls_hushed               /* the same, but that something in between may set errno anew */
    push rbx
    ASKS_ERRNO
    call hushed
.globl behind_hushed
behind_hushed:
    cmp eax, -1
    jne 1f
    call getpid@PLT
    mov ecx, dword ptr [rbx]
    test ecx, ecx
    je 1f
    inc dword ptr [rip + total]
1:  pop rbx
    ret
END calls_hushed

FUNCTION summed
.globl at_summed
at_summed:
    mov eax, dword ptr [rdi]
    ret
END summed

FUNCTION calls_summed               /* total += summed(p); return 0; */
    push rbx
    call summed
.globl behind_summed
behind_summed:
    add dword ptr [rip + total], eax
    xor eax, eax
    pop rbx
    ret
END calls_summed

FUNCTION stored
.globl at_stored
at_stored:
    mov eax, dword ptr [rdi]
    ret
END stored

FUNCTION calls_stored               /* without optimisation, with a canary: int n = stored(p); if (n < 0) total--; */
    push rbp
    mov rbp, rsp
    sub rsp, 16
    mov rax, qword ptr fs:[40]
    mov qword ptr [rbp - 8], rax
    call stored
.globl behind_stored
behind_stored:
    mov dword ptr [rbp - 12], eax
    cmp dword ptr [rbp - 12], 0
    jns 1f
    dec dword ptr [rip + total]
1:  mov rdx, qword ptr [rbp - 8]
    sub rdx, qword ptr fs:[40]
    je 2f
    call __stack_chk_fail@PLT
2:  mov eax, dword ptr [rip + total]
    leave
    ret
END calls_stored

FUNCTION divides
    mov eax, dword ptr [rdi]
    cdq
.globl at_divides
at_divides:
    idiv dword ptr [rdi + 4]
    mov dword ptr [rdi], eax
    ret
END divides

FUNCTION calls_divides              /* do divides(p); while (p->quotient); -- it repeats what has failed */
    push rbx
    mov rbx, rdi
1:  mov rdi, rbx
    call divides
.globl behind_divides
behind_divides:
    cmp dword ptr [rbx], 0
    jne 1b
    pop rbx
    ret
END calls_divides

FUNCTION main
    sub rsp, 8
1:  call calls_code
    call calls_truth
    call calls_tested
    call calls_thrower
    call calls_data
    call calls_canary
    call calls_quiet
    call calls_hushed
    call calls_divides
    call calls_stored
    call calls_summed
.globl behind_calls_summed
behind_calls_summed:
    test eax, eax
    jne 1b
    call helper
.globl behind_all
behind_all:
    dec dword ptr [rip + total]
    jne 1b
    xor eax, eax
    add rsp, 8
    ret
END main

.data
.globl total
total: .long 0
.section .note.GNU-stack,"",@progbits
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("exits"), SOURCE, name="exits.S")


@pytest.fixture(scope="module")
def names(program: Path) -> dict[str, int]:
    return symbols(program)


@pytest.fixture(scope="module")
def image(program: Path) -> Image:
    return Image.open(stripped(program))


def fault(
    image: Image,
    names: dict[str, int],
    function: str,
    *,
    alone: bool = False,
    kind: FaultClass = "null-dereference",
) -> Localization:
    """A fault in a function, called by `calls_…`; `alone`: the backtrace ends there."""
    frames = [LocalizedFrame(index=0, address=names[f"at_{function}"], function=names[function])]
    if not alone:
        caller, main = names[f"calls_{function}"], names["main"]
        frames.append(LocalizedFrame(index=1, address=names[f"behind_{function}"], function=caller))
        behind = names.get(f"behind_calls_{function}", names["behind_all"])
        frames.append(LocalizedFrame(index=2, address=behind, function=main))
    return Localization(
        binary=identity(image), fault_class=kind, fault_pc=names[f"at_{function}"],
        frames=tuple(frames), evidence=("the fault is here",),
    )  # fmt: skip


@pytest.mark.parametrize("alone", [False, True], ids=["called", "alone"])
@pytest.mark.parametrize(
    ("function", "value", "said"),
    [
        ("code", 3, "0 is what it returns at the end"),
        ("tested", 3, "0 is what it returns at the end"),
        ("truth", 0, "not 0 is what it returns at the end"),
        ("canary", 3, "0 is what it returns at the end"),
        ("thrower", MINUS_ONE, "it is success"),
        ("data", 0, "the default"),
    ],
)
def test_early_exits_tell_a_status_from_a_truth_value(
    image: Image, names: dict[str, int], function: str, value: int, said: str, alone: bool
) -> None:
    region = primary(plan(fault(image, names, function, alone=alone), image))
    assert (region.address, region.return_value) == (names[function], value)
    assert any(said in each for each in region.return_evidence)


def test_early_exit_is_the_error_where_no_caller_is_known(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(fault(image, names, "unseen", alone=True), image))
    assert (region.address, region.return_value) == (names["unseen"], 3)


def test_errno_is_set_where_its_address_outlives_the_call(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(fault(image, names, "quiet"), image))
    (rule,) = (rule for rule in region.rules if isinstance(rule, SetErrno))
    assert (region.return_value, rule.value) == (MINUS_ONE, 22)  # EINVAL


def test_errno_is_left_alone_where_a_later_call_may_set_it(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(fault(image, names, "hushed"), image))
    assert not [rule for rule in region.rules if isinstance(rule, SetErrno)]


def test_result_that_the_caller_calculates_with_is_left_to_the_next_function(
    image: Image, names: dict[str, int]
) -> None:
    region = primary(plan(fault(image, names, "summed"), image))
    assert region.address == names["calls_summed"]
    (inner,) = (point for point in region.considered if point.address == names["summed"])
    assert any("calculates with the result without a look at it" in each for each in inner.reasons)


def test_test_of_a_slot_counts_and_the_check_of_a_canary_does_not(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(fault(image, names, "stored"), image))
    assert (region.address, region.return_value) == (names["stored"], MINUS_ONE)
    assert any("negative is special" in each for each in region.return_evidence)
    (chosen,) = (point for point in region.considered if point.verdict == "chosen")
    assert not any("the program ends" in each for each in chosen.reasons)


def test_division_that_a_loop_would_repeat_for_ever_is_left_out(image: Image, names: dict[str, int]) -> None:
    made = plan(fault(image, names, "divides", kind="divide"), image)
    region = primary(made)
    (rule,) = (rule for rule in region.rules if isinstance(rule, Strategy))
    assert (region.address, rule.name, rule.limit) == (names["divides"], "oblivious", 64)
    assert rule.why in region.why
    assert names["calls_divides"] in {other.address for other in made.regions}, "for what cannot be left out"
    assert plan(fault(image, names, "divides", kind="divide"), image, known=made.regions) == made


def test_only_divisions_are_left_out_and_only_where_nothing_else_is_asked_for(
    image: Image, names: dict[str, int]
) -> None:
    division = fault(image, names, "divides", kind="divide")
    others = (
        plan(fault(image, names, "divides"), image),
        plan(division, image, strategy=strategy_rules("return", image)),
        plan(division, image, return_value=7),
        plan(division, image, nets=False),
    )
    for made in others:
        assert not any(isinstance(rule, Strategy) for region in made.regions for rule in region.rules)
        assert primary(made).address == names["calls_divides"]
