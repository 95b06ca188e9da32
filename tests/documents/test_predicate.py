"""The language of predicates: what it reads as, and where it says that it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stemrw.documents.fault_report import load_report, parse_report
from stemrw.documents.predicate import (
    REGISTERS,
    Arithmetic,
    Compared,
    Joined,
    Memory,
    Not,
    Number,
    PredicateError,
    Register,
    parse,
)
from stemrw.errors import DocumentError

RDI, RSI = Register(7), Register(6)


def test_masks_bind_tighter_than_comparisons_and_products_than_sums() -> None:
    masked = Arithmetic("&", RDI, Number(3))
    assert parse("rdi & 3 == 1") == parse("(rdi & 3) == 1") == Compared("==", masked, Number(1))
    product = Arithmetic("+", RDI, Arithmetic("*", RSI, Number(8)))
    assert parse("rdi+rsi*8 < 0x40") == Compared("<", product, Number(64))


def test_and_binds_tighter_than_or_and_not_than_both() -> None:
    a, b, c = (Compared("==", RDI, Number(n)) for n in (1, 2, 3))
    assert parse("rdi == 1 or rdi == 2 and rdi == 3") == Joined("or", a, Joined("and", b, c))
    assert parse("not rdi == 1 and rdi == 2") == Joined("and", Not(a), b)
    assert parse("(rdi == 1 or rdi == 2) and rdi == 3") == Joined("and", Joined("or", a, b), c)


def test_memory_has_a_size_and_a_sign() -> None:
    inner = Memory(Arithmetic("+", RDI, Number(8)), 8, False)
    assert parse("i16[u64[rdi+8]] <s -1") == Compared("<s", Memory(inner, 2, True), Number(-1))


def test_every_part_of_a_register_has_its_usual_name() -> None:
    assert len(REGISTERS) == 16 * 4 + 4 + 1
    assert [REGISTERS[name] for name in ("ah", "spl", "r9d", "bp", "EAX".lower())] == [
        Register(0, 1, high=True), Register(4, 1), Register(9, 4), Register(5, 2), Register(0, 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "a register, a number or memory"),
        ("rdi", 1, "a comparison was expected"),
        ("rdi <", 6, "a register, a number or memory"),
        ("rdi = 3", 5, "no register, number or operator"),
        ("rdi < 3 rsi", 9, "the end, `and` or `or`"),
        ("rdi < 3 < 4", 9, "the end, `and` or `or`"),
        ("eex == 1", 1, "a register, a number or memory"),
        ("rdi == 0x", 8, "no register, number or operator"),
        ("rdi == 12ab", 8, "no register, number or operator"),
        ("rdi == 0x10000000000000000", 8, "does not fit in 64 bits"),
        ("-0x8000000000000001 == rdi", 1, "does not fit in 64 bits"),
        ("-rdi == 3", 1, "only numbers can be negative"),
        ("rdi < -1", 5, "`<s` was meant"),
        ("u32[rdi == 1", 9, "`]` was expected"),
        ("(rdi == 1", 10, "`)` was expected"),
        ("u32[rdi == 1]", 9, "`]` was expected"),
        ("(rdi < 3) + 1 == 2", 1, "a value was expected"),
        ("rdi < 3 and rsi", 13, "a comparison was expected"),
        ("(" * 13 + "rdi" + ")" * 13 + " == 1", 14, "nested too deep"),
        ("rdi == 1 \x00", 10, "no register, number or operator"),
    ],
)
def test_an_error_says_where_it_is(text: str, column: int, said: str) -> None:
    with pytest.raises(PredicateError) as raised:
        parse(text)
    assert str(raised.value).startswith(f"column {column} of ")
    assert said in str(raised.value)


def test_a_predicate_has_an_end() -> None:
    with pytest.raises(PredicateError, match="longer than 1000"):
        parse("rdi == 1" + " or rdi == 1" * 100)


def test_a_report_by_hand_says_a_predicate(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"binary": "p", "address": "0x1", "class": "predicate", "predicate": "rdi < 64"}))
    report = load_report(path)
    assert (report.predicate, report.pc.address) == ("rdi < 64", 1)
    assert parse_report(json.loads(report.to_json())) == report


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"class": "predicate", "address": 1}, "belong together"),
        ({"class": "divide", "address": 1, "predicate": "rdi < 64"}, "belong together"),
        ({"class": "predicate", "function": "f", "predicate": "rdi < 64"}, "needs an address"),
        ({"class": "predicate", "address": 1, "predicate": "rdi <"}, "column 6"),
    ],
)
def test_a_report_without_sense_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        parse_report({"binary": "p", **fields})
