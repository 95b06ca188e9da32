"""From a predicate's tree to the program that the runtime evaluates (runtime/include/rules.h: enum operation).

The runtime's stack is as deep as `PREDICATE_DEPTH`: of two operands the one that needs more is not computed first, so
the depth is checked, and so is the length.
"""

from __future__ import annotations

from stemrw.documents.predicate import (
    Arithmetic,
    Compared,
    Condition,
    Joined,
    Memory,
    Not,
    Number,
    Register,
    Value,
    parse,
)
from stemrw.errors import DocumentError
from stemrw.runtime import RuntimeImage

_ARITHMETIC = {"+": "ADD", "-": "SUBTRACT", "*": "MULTIPLY", "&": "MASK"}
_COMPARED = {"<": "BELOW", "<=": "BELOW_EQUAL", "<s": "LESS", "<=s": "LESS_EQUAL"}
_SWAPPED = {">": "<", ">=": "<=", ">s": "<s", ">=s": "<=s"}


def compile_predicate(text: str, image: RuntimeImage) -> bytes:
    """The program of a predicate.  Raises DocumentError: it is too long, or nested too deep, for the runtime."""
    compiler = _Compiler(image)
    compiler.condition(parse(text))
    if (
        len(compiler.program) > image.constants["PREDICATE_BYTES"]
        or compiler.highest > image.constants["PREDICATE_DEPTH"]
    ):
        raise DocumentError(f"the predicate {text!r} is too long", hint="require its parts one by one")
    return bytes(compiler.program)


def records(program: bytes, image: RuntimeImage) -> list[tuple[int, ...]]:
    """The words of the rule records that hold a program, one after the other."""
    size = image.constants["RULE_PROGRAM_BYTES"]
    parts = [program[at : at + size].ljust(size, b"\0") for at in range(0, len(program), size)]
    words = [tuple(int.from_bytes(part[at : at + 8], "little") for at in range(0, size, 8)) for part in parts]
    return [(len(program) - i * size, *found) for i, found in enumerate(words)]


class _Compiler:
    def __init__(self, image: RuntimeImage) -> None:
        self._image = image
        self.program = bytearray()
        self.highest = self._depth = 0

    def _emit(self, operation: str, *operand: int, grows: int = 0) -> None:
        self.program += bytes((self._image.constants[f"OP_{operation}"], *operand))
        self._depth += grows
        self.highest = max(self.highest, self._depth)

    def condition(self, tree: Condition) -> None:
        if isinstance(tree, Joined):
            self.condition(tree.left)
            self.condition(tree.right)
            self._emit("BOTH" if tree.word == "and" else "EITHER", grows=-1)
        elif isinstance(tree, Not):
            self.condition(tree.inner)
            self._emit("NOT")
        else:
            self._compared(tree)

    def _compared(self, tree: Compared) -> None:
        sign, left, right = tree.sign, tree.left, tree.right
        if sign in _SWAPPED:
            sign, left, right = _SWAPPED[sign], right, left  # type: ignore[assignment]
        sides = (left, right)
        signed = sign.endswith("s") or any(isinstance(side, Number) and side.value < 0 for side in sides)
        for side in sides:
            self._value(side, signed=signed)
        self._emit(_COMPARED.get(sign, "EQUAL"), grows=-1)
        if sign == "!=":
            self._emit("NOT")

    def _value(self, tree: Value, *, signed: bool = False) -> None:
        """`signed`: a part of a register counts as a signed number."""
        if isinstance(tree, Number):
            self._number(tree.value)
        elif isinstance(tree, Register):
            self._register(tree, signed=signed)
        elif isinstance(tree, Memory):
            self._value(tree.address)
            self._emit("LOAD", tree.size)
            if tree.signed:
                self._emit("SIGN_EXTEND", tree.size)
        else:
            self._arithmetic(tree)

    def _arithmetic(self, tree: Arithmetic) -> None:
        self._value(tree.left)
        self._value(tree.right)
        self._emit(_ARITHMETIC[tree.sign], grows=-1)

    def _number(self, value: int) -> None:
        if -128 <= value < 128:
            self._emit("SMALL", value & 0xFF, grows=1)
        else:
            self._emit("CONSTANT", *(value & (1 << 64) - 1).to_bytes(8, "little"), grows=1)

    def _register(self, register: Register, *, signed: bool) -> None:
        self._emit("REGISTER", register.number, grows=1)
        if register.high:
            self._emit("SHIFT_RIGHT", 8)
        if register.size < 8:
            self._emit("SIGN_EXTEND" if signed else "ZERO_EXTEND", register.size)
