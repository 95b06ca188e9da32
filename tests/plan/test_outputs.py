"""`--errno`, `--out` and `--require`: what is understood, what is refused, and whose rules win."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from elf_programs import compile_program, stripped, symbols

from stemrw.documents.rules import AnyRule, SetErrno, SetOut
from stemrw.errors import LocalizationError, UsageError
from stemrw.image import Image
from stemrw.localize import localize, required
from stemrw.plan import asked_errno, asked_out, plan
from stemrw.plan._errno import ERRNO

SOURCE = """
#include <errno.h>
__attribute__((noinline)) int inner(int *p) { return *p; }
__attribute__((noinline)) int outer(int *p) { errno = 0; return inner(p) + 1; }
int main(void) { return outer(0); }
"""

STATIC = ("-target", "x86_64-linux-musl", "-static")


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("outputs"), SOURCE, "-O1", name="dynamic.c")


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("outputs"), SOURCE, "-O1", *STATIC, kind="fixed", name="static.c")


def test_names_of_errors_are_those_of_linux() -> None:
    assert all(number == getattr(errno, name, number) for name, number in ERRNO.items())
    assert set(errno.errorcode.values()) <= set(ERRNO)


@pytest.mark.parametrize(("text", "number"), [("ENOENT", 2), ("enoent", 2), ("22", 22), ("0x16", 22), ("0", 0)])
def test_an_error_is_a_name_or_a_number(dynamic: Path, text: str, number: int) -> None:
    assert asked_errno(text, Image.open(dynamic)) == SetErrno(value=number, why=f"--errno {text}")


@pytest.mark.parametrize("text", ["", "ENOPE", "-1", "0x80000000", "2.0"])
def test_what_is_no_error_number_is_refused(dynamic: Path, text: str) -> None:
    with pytest.raises(UsageError, match="no error number"):
        asked_errno(text, Image.open(dynamic))


def test_a_static_program_says_itself_where_errno_lies(static: Path) -> None:
    assert asked_errno("EIO", Image.open(static)).address == symbols(static)["__errno_location"]
    with pytest.raises(LocalizationError, match="where errno lies is not known"):
        asked_errno("EIO", Image.open(stripped(static)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0:8=0", (0, 0, 8, 0)),
        ("5+0x10:4=-1", (5, 16, 4, (1 << 64) - 1)),
        ("2-8:2=0xffff", (2, (1 << 64) - 8, 2, 0xFFFF)),
        ("1 : 1 = 255", (1, 0, 1, 255)),
    ],
)
def test_a_value_behind_a_pointer(text: str, words: tuple[int, ...]) -> None:
    rule = asked_out(text)
    assert rule.values() == words
    assert rule.why == f"--out {text}"


@pytest.mark.parametrize("text", ["", "6:8=0", "1:3=0", "1:8", "1:8=x", "rdi:8=0", "1+:8=0", "1:8=0;2:8=0"])
def test_another_form_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be read .*such as 2:8=0"):
        asked_out(text)


@pytest.mark.parametrize("text", ["0:1=256", "0:1=-129", "0:8=0x10000000000000000"])
def test_a_value_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        asked_out(text)


def test_the_last_word_about_an_out_parameter_stands(dynamic: Path) -> None:
    image = Image.open(dynamic)
    fault = localize(None, image, region="inner")
    first = plan(fault, image, outputs=[asked_out("0:8=1"), asked_out("1:8=1"), asked_errno("EIO", image)])
    again = plan(fault, image, known=first.regions, outputs=[asked_out("0:4=2"), asked_errno("2", image)])
    assert _said(again.regions[0].rules) == ["--errno 2", "--out 0:4=2", "--out 1:8=1"]
    assert plan(fault, image, known=first.regions).regions == first.regions


def test_escalation_needs_a_region_further_out(dynamic: Path) -> None:
    image = Image.open(dynamic)
    faults = [localize(None, image, region=name) for name in ("inner", "outer", "main")]
    alone = plan(faults[:1], image)
    assert [rule.kind for region in alone.regions for rule in region.rules] == []
    together = plan(faults, image)
    assert {r.symbol: [rule.kind for rule in r.rules] for r in together.regions} == {
        "inner": ["escalate"], "outer": ["escalate"], "main": [],
    }  # fmt: skip
    assert not any(region.rules for region in plan(faults, image, escalate=False).regions)
    assert plan(faults, image, known=together.regions) == together


def _said(rules: tuple[AnyRule, ...]) -> list[str]:
    assert all(isinstance(rule, SetErrno | SetOut) for rule in rules)
    return [rule.why for rule in rules]


def test_a_predicate_stands_before_an_instruction(dynamic: Path) -> None:
    image = Image.open(dynamic)
    entry = symbols(dynamic)["inner"]
    instruction = next(i for i in image.body(image.functions_named("inner")[0]) if i.size > 1)
    fault = localize(required(f"{instruction.address:#x}: rdi != 0", image), image)
    planned = plan(fault, image).regions
    assert [(r.address, [(rule.kind, rule.address) for rule in r.rules]) for r in planned] == [
        (entry, [("predicate", instruction.address)])
    ]
    assert plan(fault, image, known=planned).regions == planned
    with pytest.raises(LocalizationError, match=r"no instruction of inner .* inside of"):
        plan(localize(required(f"{instruction.address + 1:#x}: rdi != 0", image), image), image)


@pytest.mark.parametrize("text", ["", "0x10", "rdi < 64", "0x10; rdi < 64", "inner: rdi", "1nner: rdi < 3 3"])
def test_a_requirement_that_cannot_be_read(dynamic: Path, text: str) -> None:
    with pytest.raises(UsageError, match="--require"):
        required(text, Image.open(dynamic))


def test_a_requirement_of_an_unknown_function(dynamic: Path) -> None:
    with pytest.raises(LocalizationError, match="no symbol is called 'outest'"):
        required("outest+4: rdi < 64", Image.open(dynamic))
