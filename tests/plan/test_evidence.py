"""The evidence miner on compiled C: each kind of evidence decides where nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
from elf_programs import compile_program, stripped, symbols

from stemrw.documents.localization import Localization, LocalizedFrame
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.documents.rules import SetErrno, SetOut
from stemrw.image import Image
from stemrw.localize import identity
from stemrw.plan import plan
from stemrw.plan._names import said_by_name

MINUS_ONE = 0xFFFF_FFFF_FFFF_FFFF

SOURCE = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define PART __attribute__((noinline))
volatile int sink;
int *volatile shared;

PART int work(int *p) { return *p; }                     /* what every function below may fault in */

/* The same test, told apart by which branch reports. */
PART int status(int *p) { return work(p) ^ sink; }
PART int truth(int *p) { return work(p) ^ sink; }
PART int calls_status(int *p) {
    if (status(p)) { fprintf(stderr, "line %d: bad number\n", sink); return 2; }
    sink++;
    return 0;
}
PART int calls_truth(int *p) {
    if (!truth(p)) { fprintf(stderr, "line %d: bad number\n", sink); return 2; }
    sink++;
    return 0;
}

/* Reported by a message alone, handed to a function of the program's own. */
PART void say(const char *text, int line) { printf("%d: %s\n", line, text); }
PART int message(int *p) { return work(p) + sink; }
PART int calls_message(int *p) {
    if (message(p)) { say("syntax error in expression", sink); return 3; }
    sink++;
    return 0;
}

/* A library function that takes no null pointer. */
PART char *text(int *p) { return (char *)shared + work(p); }
PART int calls_text(int *p) { return (int)strlen(text(p)); }

/* errno, as the function sets it. */
PART int fetch(int *p) {
    if (sink == 7) { errno = ENOENT; return -1; }
    return work(p) + sink;
}
PART int calls_fetch(int *p) {
    if (fetch(p) < 0) { perror("fetch"); return 1; }
    return 0;
}

/* An out-parameter that is read whatever the result; one that has a value before; one that is read after success. */
PART int fill(int *p, int *out) { *out = work(p); return *out & 1; }
PART int calls_fill(int *p) {
    int n;
    int rc = fill(p, &n);
    sink = n;
    return rc;
}
PART int fill_copied(int *p, int *out) { *out = work(p); return *out & 1; }
PART int calls_fill_copied(int *p) {
    int n, *at;
    __asm__("lea %1, %%rax\n mov %%rax, %0" : "=S"(at) : "m"(n) : "rax");
    int rc = fill_copied(p, at);
    sink = *(volatile int *)&n;
    return rc;
}
PART int fill_set(int *p, int *out) { *out = work(p); return *out & 1; }
PART int calls_fill_set(int *p) {
    volatile int n = 5;
    int rc = fill_set(p, (int *)&n);
    sink = n;
    return rc;
}

/* An error that ends the program in the near caller, and is survived by the loop around the next. */
PART int field(int *p) { return work(p) + sink; }
PART int record(int *p) {
    if (field(p) < 0) { fprintf(stderr, "cannot go on\n"); exit(3); }
    sink = 4;
    return sink;
}
PART int each(int **list) {
    int bad = 0;
    for (int i = 0; list[i]; i++)
        if (record(list[i]) < 0) { fprintf(stderr, "record %d is bad\n", i); bad++; }
    return bad;
}
int main(int argc, char **argv) {
    int *p = (int *)argv;
    int *list[] = {p, shared, 0};
    sink = calls_status(p) + calls_truth(p) + calls_message(p) + calls_text(p) + calls_fetch(p) + calls_fill(p);
    sink += calls_fill_set(p) + calls_fill_copied(p);
    return each(list) + argc;
}
"""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence")
    return compile_program(folder, SOURCE, "-fno-stack-protector", name="evidence.c")


@pytest.fixture(scope="module")
def names(named: Path) -> dict[str, int]:
    return symbols(named)


@pytest.fixture(scope="module")
def image(named: Path) -> Image:
    return Image.open(stripped(named))


def backtrace(image: Image, names: dict[str, int], *functions: str) -> Localization:
    """A fault at the first instruction of the first function, called by the second, and so on."""
    addresses = [names[functions[0]]]
    for callee, caller in zip(functions, functions[1:], strict=False):
        function = image.function_at(names[callee])
        assert function is not None
        calls = [call for call, inside in image.callers(function) if inside.entry == names[caller] and call.is_call]
        addresses.append(calls[0].end)
    frames = tuple(
        LocalizedFrame(index=index, address=address, function=names[name])
        for index, (address, name) in enumerate(zip(addresses, functions, strict=True))
    )
    return Localization(
        binary=identity(image), fault_class="null-dereference", fault_pc=addresses[0], frames=frames,
        evidence=("the fault is here",),
    )  # fmt: skip


def primary(made: Plan) -> PlannedRegion:
    (region,) = (r for r in made.regions if any(point.verdict == "chosen" for point in r.considered))
    return region


@pytest.mark.parametrize(
    ("function", "value", "said"),
    [
        ("status", MINUS_ONE, "prints to stderr"),
        ("truth", 0, "prints to stderr"),
        ("message", MINUS_ONE, "syntax error"),
        ("fetch", MINUS_ONE, "negative is special"),
    ],
)
def test_branch_that_reports_tells_the_error_value(
    image: Image, names: dict[str, int], function: str, value: int, said: str
) -> None:
    region = primary(plan(backtrace(image, names, function, f"calls_{function}", "main"), image))
    assert (region.address, region.return_value) == (names[function], value)
    assert any(said in each for each in region.return_evidence)
    assert region.candidates[0].value == value


def test_candidates_are_ranked_and_rejected_ones_are_kept(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(backtrace(image, names, "status", "calls_status", "main"), image))
    assert {0, MINUS_ONE} <= {candidate.value for candidate in region.candidates}
    scores = [candidate.score for candidate in region.candidates]
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]


def test_null_for_a_library_function_that_takes_none_moves_outwards(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(backtrace(image, names, "text", "calls_text", "main"), image))
    assert region.address == names["calls_text"]
    (rejected,) = (point for point in region.considered if point.address == names["text"])
    assert rejected.verdict == "rejected" and any("as an address without a test" in each for each in rejected.reasons)


def test_errno_is_what_the_function_itself_sets(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(backtrace(image, names, "fetch", "calls_fetch", "main"), image))
    assert [rule.value for rule in region.rules if isinstance(rule, SetErrno)] == [2]  # ENOENT
    other = primary(plan(backtrace(image, names, "status", "calls_status", "main"), image))
    assert not [rule for rule in other.rules if isinstance(rule, SetErrno)]


@pytest.mark.parametrize("name", ["fill", "fill_copied"])
def test_variable_that_the_caller_reads_gets_a_neutral_value(image: Image, names: dict[str, int], name: str) -> None:
    region = primary(plan(backtrace(image, names, name, f"calls_{name}", "main"), image))
    (rule,) = (rule for rule in region.rules if isinstance(rule, SetOut))
    assert (rule.argument, rule.offset, rule.size, rule.value) == (1, 0, 4, 0)


def test_variable_that_has_a_value_keeps_it(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(backtrace(image, names, "fill_set", "calls_fill_set", "main"), image))
    assert not [rule for rule in region.rules if isinstance(rule, SetOut)]


def test_error_that_ends_the_program_is_rescued_by_the_loop_further_out(image: Image, names: dict[str, int]) -> None:
    region = primary(plan(backtrace(image, names, "field", "record", "each", "main"), image))
    assert (region.address, region.return_value) == (names["record"], MINUS_ONE)
    (inner,) = (point for point in region.considered if point.address == names["field"])
    assert inner.verdict == "rejected" and any("the program ends" in each for each in inner.reasons)
    (chosen,) = (point for point in region.considered if point.verdict == "chosen")
    assert any("loop" in each for each in chosen.reasons)


@pytest.mark.parametrize("policy", ["types", "minus-one"])
def test_simple_policies_take_the_function_of_the_fault_and_no_nets(
    image: Image, names: dict[str, int], policy: str
) -> None:
    localization = backtrace(image, names, "text", "calls_text", "main")
    (region,) = plan(localization, image, policy=policy).regions  # type: ignore[arg-type]
    assert region.address == names["text"]
    assert region.return_value == (MINUS_ONE if policy == "minus-one" else 0)


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("_ZN4shop4CartC1Ev", "void"),
        ("_ZN4shop4CartC2ERKS0_", "void"),
        ("_ZN4shop4CartD0Ev", "void"),
        ("_ZNSt6vectorIiSaIiEEC2Ev", "void"),
        ("_ZNK4shop4Cart7isEmptyEv", "bool"),
        ("_ZNK4shop4CartcvbEv", "bool"),
        ("is_valid", "bool"),
        ("issue", None),
        ("_ZN4shop4Cart4sizeEv", None),
        ("_Z3sumii", None),
        ("_ZN99999", None),
        (None, None),
    ],
)
def test_names_that_tell_the_result(symbol: str | None, kind: str | None) -> None:
    said = said_by_name(symbol)
    assert (said and said[0]) == kind
