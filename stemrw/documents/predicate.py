"""The language of predicates: what must hold before an instruction executes.

    rdi < 64                             registers as the instruction finds them, numbers
    rdi != 0 and u32[rdi+8] <= 4096      memory: u8 u16 u32 u64 i8 i16 i32 i64 [address]
    edx >=s 0 or (al & 3) == 1           signed comparisons end in s; & masks bits

`parse` gives the tree; `stemrw.rewrite` makes of it what the runtime evaluates.  See docs/checks.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

_GENERAL = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()
FS_BASE = 16
_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+|\d+)(?![0-9A-Za-z_])|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>==|!=|<=s|>=s|<s(?!\w)|>s(?!\w)|<=|>=|<|>|[-+*&()\[\]]))"
)
Comparison = Literal["==", "!=", "<", "<=", ">", ">=", "<s", "<=s", ">s", ">=s"]
MAXIMUM_LENGTH = 1000
MAXIMUM_DEPTH = 12
"""Of parentheses, brackets and negations within each other."""
_COMPARISONS: tuple[Comparison, ...] = ("==", "!=", "<", "<=", ">", ">=", "<s", "<=s", ">s", ">=s")


class PredicateError(ValueError):
    """A predicate cannot be read; the message says where and what was expected."""


@dataclass(frozen=True, slots=True)
class Number:
    value: int
    """As a 64-bit pattern, or negative."""


@dataclass(frozen=True, slots=True)
class Register:
    number: int
    """0 to 15 as instructions encode them; 16 is the fs base."""
    size: int = 8
    high: bool = False
    """The second byte: ah, ch, dh, bh."""


@dataclass(frozen=True, slots=True)
class Memory:
    address: Value
    size: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Arithmetic:
    sign: Literal["+", "-", "*", "&"]
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Compared:
    sign: Comparison
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Joined:
    word: Literal["and", "or"]
    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Not:
    inner: Condition


Value = Number | Register | Memory | Arithmetic
Condition = Compared | Joined | Not
_Level = Callable[[], Value | Condition]


def _registers() -> dict[str, Register]:
    found = {"fs": Register(FS_BASE)}
    for number, name in enumerate(_GENERAL):
        found[name] = Register(number)
        if number < 8:
            short = name[1:]
            low = short[0] + "l" if short.endswith("x") else short + "l"
            parts = {"e" + short: 4, short: 2, low: 1}
        else:
            parts = {name + "d": 4, name + "w": 2, name + "b": 1}
        found.update((part, Register(number, size)) for part, size in parts.items())
        if number < 4:
            found[name[1] + "h"] = Register(number, 1, high=True)
    return found


REGISTERS = _registers()
_MEMORY = {f"{kind}{8 * size}": (size, kind == "i") for kind in "ui" for size in (1, 2, 4, 8)}


def parse(text: str) -> Condition:
    """The condition that a text says.  Raises PredicateError: it cannot be read, or compares what it should not."""
    if len(text) > MAXIMUM_LENGTH:
        raise PredicateError(f"the predicate is longer than {MAXIMUM_LENGTH} characters")
    parser = _Parser(text)
    found = parser.either()
    if parser.token is not None:
        parser.fail("the end, `and` or `or` was expected")
    return parser.condition(found, 0)


class _Parser:
    """Recursive descent, one method per level of precedence, loosest first."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = self._end = 0
        self._depth = 0
        self.token: str | None = None
        self._advance()

    def fail(self, expected: str, at: int | None = None) -> NoReturn:
        place = self._at if at is None else at
        raise PredicateError(f"column {place + 1} of {self._text!r}: {expected}")

    def _advance(self) -> None:
        rest = self._text[self._end :]
        self._at = self._end + len(rest) - len(rest.lstrip())
        match = _TOKEN.match(self._text, self._end)
        if match is None:
            if rest.strip():
                self.fail("this is no register, number or operator")
            self.token = None
            return
        self.token, self._end = match[0].strip(), match.end()

    def _take(self, *tokens: str) -> str | None:
        token = self.token
        if token is None or token not in tokens:
            return None
        self._advance()
        return token

    def _expect(self, token: str) -> None:
        if not self._take(token):
            self.fail(f"`{token}` was expected")

    def condition(self, found: Value | Condition, at: int) -> Condition:
        if not isinstance(found, Compared | Joined | Not):
            self.fail("a comparison was expected, such as rdi < 64", at)
        return found

    def _value(self, found: Value | Condition, at: int) -> Value:
        if isinstance(found, Compared | Joined | Not):
            self.fail("a value was expected, not a comparison", at)
        return found

    def either(self) -> Value | Condition:
        at = self._at
        left = self._both()
        while self._take("or"):
            behind = self._at
            left = Joined("or", self.condition(left, at), self.condition(self._both(), behind))
        return left

    def _both(self) -> Value | Condition:
        at = self._at
        left = self._negated()
        while self._take("and"):
            behind = self._at
            left = Joined("and", self.condition(left, at), self.condition(self._negated(), behind))
        return left

    def _negated(self) -> Value | Condition:
        if not self._take("not"):
            return self._compared()
        at = self._at
        return Not(self.condition(self._nested(self._negated), at))

    def _compared(self) -> Value | Condition:
        at = self._at
        left = self._masked()
        sign = next((s for s in _COMPARISONS if s == self.token), None)
        if sign is None:
            return left
        where = self._at
        self._advance()
        behind = self._at
        compared = Compared(sign, self._value(left, at), self._value(self._masked(), behind))
        negative = any(isinstance(side, Number) and side.value < 0 for side in (compared.left, compared.right))
        if negative and sign[0] in "<>" and not sign.endswith("s"):
            self.fail(f"`{sign}` compares without sign, where no number is negative: `{sign}s` was meant", where)
        return compared

    def _masked(self) -> Value | Condition:
        return self._chain(("&",), self._sum)

    def _sum(self) -> Value | Condition:
        return self._chain(("+", "-"), lambda: self._chain(("*",), self._factor))

    def _chain(self, signs: tuple[Literal["+", "-", "*", "&"], ...], inner: _Level) -> Value | Condition:
        at = self._at
        left = inner()
        while (sign := next((s for s in signs if s == self.token), None)) is not None:
            self._advance()
            behind = self._at
            left = Arithmetic(sign, self._value(left, at), self._value(inner(), behind))
        return left

    def _nested(self, inner: _Level) -> Value | Condition:
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            self.fail("it is nested too deep")
        found = inner()
        self._depth -= 1
        return found

    def _factor(self) -> Value | Condition:
        token, at = self.token, self._at
        if self._take("("):
            found = self._nested(self.either)
            self._expect(")")
            return found
        if self._take("-"):
            inner = self._value(self._nested(self._factor), self._at)
            if not isinstance(inner, Number):
                self.fail("only numbers can be negative", at)
            if inner.value > 1 << 63:
                self.fail("this number does not fit in 64 bits", at)
            return Number(-inner.value)
        if token is not None and token.lower() in _MEMORY:
            self._advance()
            size, signed = _MEMORY[token.lower()]
            self._expect("[")
            behind = self._at
            address = self._value(self._nested(self._masked), behind)
            self._expect("]")
            return Memory(address, size, signed)
        return self._atom()

    def _atom(self) -> Value:
        token = self.token
        if token is not None and token[0].isdigit():
            value = int(token, 16 if token[:2] in ("0x", "0X") else 10)
            if value >= 1 << 64:
                self.fail("this number does not fit in 64 bits")
            self._advance()
            return Number(value)
        register = REGISTERS.get(token.lower()) if token is not None else None
        if register is None:
            self.fail("a register, a number or memory such as u32[rdi+8] was expected")
        self._advance()
        return register
