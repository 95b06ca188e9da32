"""Slices: which pieces of a function can be skipped, and what the user has to say for it."""

from __future__ import annotations

import subprocess

import pytest

from stemrw.documents.rules import Escalate, Slice, SliceExit, SliceSet, Strategy
from stemrw.errors import LocalizationError, StemrwError, UsageError
from stemrw.image import Image
from stemrw.localize import localize
from stemrw.plan import plan, slice_rules, strategy_rules

SOURCE = """
.macro function name
  .globl \\name
  .type \\name, @function
\\name:
  .cfi_startproc
.endm
.macro done name
  .cfi_endproc
  .size \\name, . - \\name
.endm
.text
function work                       # a loop: rbx counts, r12 adds up, a jump leaves in the middle
  push %rbx
  push %r12
  xor %ebx, %ebx
  xor %r12d, %r12d
work_a:
  mov (%rdi), %rax
  test %rax, %rax
  je work_out
  add %rax, %r12
  add $8, %rdi
work_b:
  inc %ebx
  cmp %rsi, %rbx
  jne work_a
work_out:
  mov %r12, %rax
  pop %r12
  pop %rbx
  ret
done work

function product                    # behind it needs rdx, which only the slice makes
  nop
product_a:
  mov (%rdi), %rdx
  add $1, %rsi
product_b:
  mov %rdx, %rax
  add %rsi, %rax
  ret
done product

function vector                     # the same of a vector register
  nop
vector_a:
  movsd (%rdi), %xmm3
vector_b:
  movapd %xmm3, %xmm0
  ret
done vector

function flagged                    # and of flags
  nop
flagged_a:
  cmpq $3, (%rdi)
flagged_b:
  sete %al
  ret
done flagged

function entered                    # a branch leads into it
  test %rdi, %rdi
  je entered_in
entered_a:
  mov (%rdi), %rax
entered_in:
  mov (%rsi), %rcx
entered_b:
  xor %eax, %eax
  ret
done entered

function deeper                     # the stack is deeper behind it
  nop
deeper_a:
  push (%rdi)
deeper_b:
  pop %rax
  ret
done deeper

function table                      # nobody knows where this leads
  jmp *%rsi
table_a:
  mov (%rdi), %rcx
table_b:
  xor %eax, %eax
  ret
done table

function result                     # a call's result is produced, what it clobbers is not
  push %rbx
result_a:
  call work
  mov $5, %ecx
  call work
result_b:
  mov %rax, %rbx
  mov %rcx, %rax
  pop %rbx
  ret
done result

function stuck                      # what the loop goes by moves on in it only
  nop
stuck_a:
  add (%rdi), %rax
  add $8, %rdi
  dec %rsi
stuck_b:
  mov $7, %ecx
  test %rsi, %rsi
  jne stuck_a
  ret
done stuck

function split                      # a part of it lies lower
  push %rbx
  .cfi_def_cfa_offset 16
  xor %ebx, %ebx
split_a:
  mov (%rdi), %rax
  test %rax, %rax
  je split_cold
  add %rax, %rbx
split_b:
  add $8, %rdi
  dec %rsi
  jne split_a
split_out:
  mov %rbx, %rax
  pop %rbx
  ret
done split
.section .text.unlikely,"ax",@progbits
  .cfi_startproc
  .cfi_def_cfa_offset 16
split_cold:
  xor %ebx, %ebx
  jmp split_out
  .cfi_endproc
.text

.globl main
.type main, @function
main:
  xor %eax, %eax
  ret
.size main, . - main
.section .note.GNU-stack,"",@progbits
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("slice")
    (folder / "p.s").write_text(SOURCE)
    subprocess.run(["gcc", "p.s", "-o", "p"], cwd=folder, check=True)
    return Image.open(folder / "p")


def _symbol(image: Image, name: str) -> int:
    listing = subprocess.run(["nm", image.path], capture_output=True, text=True, check=True).stdout
    return next(int(line.split()[0], 16) for line in listing.splitlines() if line.split()[-1] == name)


def test_a_loops_body(image: Image) -> None:
    function, rules = slice_rules("work_a..work_b", image)
    start, end, out = (_symbol(image, f"work_{name}") for name in ("a", "b", "out"))
    assert function == _symbol(image, "work")
    (piece,) = (rule for rule in rules if isinstance(rule, Slice))
    assert (piece.address, piece.end, piece.resume) == (start, end, end)
    assert {rule.address for rule in rules if isinstance(rule, SliceExit)} == {end, out}
    assert not any(isinstance(rule, SliceSet) for rule in rules)


def test_numbers_and_offsets_name_the_same(image: Image) -> None:
    work, start = _symbol(image, "work"), _symbol(image, "work_a")
    one, other = (slice_rules(f"{begin}..work_b", image)[1] for begin in (f"{start:#x}", f"work+{start - work}"))
    assert [rule.model_copy(update={"why": ""}) for rule in one] == [
        rule.model_copy(update={"why": ""}) for rule in other
    ]


def test_a_part_of_the_function_may_lie_below_it(image: Image) -> None:
    function, rules = slice_rules("split_a..split_b", image)
    exits = {rule.address for rule in rules if isinstance(rule, SliceExit)}
    assert exits == {_symbol(image, "split_b"), _symbol(image, "split_cold")}
    assert min(exits) < function == _symbol(image, "split")


def test_elsewhere(image: Image) -> None:
    out = _symbol(image, "work_out")
    rules = slice_rules("work_a..work_b", image, resume="work_out", sets=["r12=-1"])[1]
    assert isinstance(rules[0], Slice) and rules[0].resume == out
    (value,) = (rule for rule in rules if isinstance(rule, SliceSet))
    assert value.values() == (12, (1 << 64) - 1) and value.address == _symbol(image, "work_a")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("product", "needs rdx, which only the slice sets"),
        ("vector", "needs zmm3"),
        ("flagged", "needs flags"),
        ("entered", "this branch leads into the slice"),
        ("deeper", "the stack is not as deep there"),
        ("table", "an indirect jump may lead into the slice"),
        ("result", "needs rax"),
        ("stuck", "the same fault would come again and again"),
    ],
)
def test_what_cannot_be(image: Image, name: str, says: str) -> None:
    with pytest.raises(LocalizationError, match=says):
        slice_rules(f"{name}_a..{name}_b", image)


def test_a_register_that_is_given(image: Image) -> None:
    rules = slice_rules("product_a..product_b", image, sets=["rdx=0x10"])[1]
    assert [rule.values() for rule in rules if isinstance(rule, SliceSet)] == [(2, 16)]


@pytest.mark.parametrize(
    "text", ["work..work_b", "work_b..work_a", "work_a..product_b", "work_a+1..work_b", "nowhere..work_b", "..", "1..2"]
)
def test_no_slice(image: Image, text: str) -> None:
    with pytest.raises(StemrwError):
        slice_rules(text, image)


@pytest.mark.parametrize("text", ["rax", "rax=", "eax=1", "rsp=1", "xmm0=1", f"rax={1 << 64}"])
def test_no_value(image: Image, text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        slice_rules("work_a..work_b", image, sets=[text])


def test_resume_inside(image: Image) -> None:
    with pytest.raises(LocalizationError, match="cannot go on inside"):
        slice_rules("work_a..work_b", image, resume="work_a")


def test_a_slice_and_another_strategy_replace_each_other(image: Image) -> None:
    function, rules = slice_rules("work_a..work_b", image)
    place = localize(None, image, region=hex(function))
    first = plan(place, image, strategy=rules)
    escalates = [rule for rule in first.regions[0].rules if isinstance(rule, Escalate)]
    assert len(escalates) == 1 and not plan(place, image, strategy=rules, escalate=False).regions[0].rules[len(rules) :]
    second = plan(place, image, known=first.regions, strategy=strategy_rules("oblivious", image))
    assert {type(rule) for rule in second.regions[0].rules} == {Strategy}
    third = plan(place, image, known=second.regions, strategy=rules)
    assert set(third.regions[0].rules) == set(first.regions[0].rules) == {*rules, *escalates}
