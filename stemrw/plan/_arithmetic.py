"""Known values through instructions: what a test of a known value decides.

Only what stands between a call and the branch on its result: moves, extensions, small arithmetic, comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stemrw.image import Instruction
from stemrw.plan._operands import REGISTERS, number

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Known:
    """A 64-bit value; `own`: it is the result of the call, or was computed from it."""

    value: int
    own: bool = False


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of a comparison of known values; `own`: the result of the call took part."""

    zero: bool
    sign: bool
    carry: bool
    overflow: bool
    own: bool
    by: Instruction

    def holds(self, condition: str) -> bool | None:
        """Whether a condition such as "ne" is true; None for one that is not decided by these flags."""
        table = {
            "e": self.zero, "s": self.sign, "b": self.carry, "o": self.overflow,
            "be": self.carry or self.zero, "l": self.sign != self.overflow,
            "le": self.zero or self.sign != self.overflow,
        }  # fmt: skip
        if condition in table:
            return table[condition]
        opposite = {"ne": "e", "ns": "s", "ae": "b", "no": "o", "a": "be", "ge": "l", "g": "le"}.get(condition)
        return not table[opposite] if opposite is not None else None


Values = dict[str, Known]
"""What is known, by 64-bit register or by the text of a memory operand on the stack."""


def place(operand: str) -> tuple[str, int] | None:
    """Where an operand is kept and its size in bytes: a register, or a slot of the frame; None for other operands."""
    if operand in REGISTERS:
        return None if operand[-1] == "h" and operand[1:] == "h" else REGISTERS[operand]
    size, _, memory = operand.partition(" ptr ")
    if memory.startswith(("[rsp", "[rbp")) and "*" not in memory:
        return memory, {"byte": 1, "word": 2, "dword": 4, "qword": 8}.get(size, 0)
    return None


def read(values: Values, operand: str) -> Known | None:
    """The known value of an operand, cut to its size."""
    immediate = number(operand)
    if immediate is not None:
        return Known(immediate & _MASK)
    at = place(operand)
    known = values.get(at[0]) if at is not None else None
    return replace(known, value=known.value & _mask(at[1])) if known is not None and at is not None else None


def write(values: Values, operand: str, known: Known | None) -> None:
    """Put a value where an operand says; None: it is not known any more."""
    at = place(operand)
    if at is None:
        return
    where, size = at
    if known is None:
        values.pop(where, None)
        return
    value = known.value & _mask(size)
    if size < 4 and where in values and where in REGISTERS:
        value |= values[where].value & ~_mask(size)  # the rest of the register stays
    values[where] = Known(value, known.own)


def _mask(size: int) -> int:
    return (1 << 8 * (size or 8)) - 1


def _signed(value: int, size: int) -> int:
    bits = 8 * (size or 8)
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def compute(instruction: Instruction, parts: tuple[str, ...], values: Values) -> Flags | None:
    """The effect of one instruction on what is known, in place; gives the flags if known values decide them."""
    mnemonic = instruction.mnemonic.rpartition(" ")[2]
    if mnemonic in ("cdqe", "cwde"):
        known = values.get("rax")
        if known is not None:
            size = 4 if mnemonic == "cdqe" else 2
            values["rax"] = Known(_signed(known.value, size) & _mask(2 * size), known.own)
        return None
    if not parts:
        return None
    if mnemonic in ("mov", "movabs", "movzx"):
        write(values, parts[0], read(values, parts[1]))
        return None
    if mnemonic in ("movsx", "movsxd"):
        source, at = read(values, parts[1]), place(parts[1])
        write(values, parts[0], Known(_signed(source.value, at[1]) & _MASK, source.own) if source and at else None)
        return None
    if mnemonic in ("cmp", "test", "add", "sub", "and", "or", "xor", "inc", "dec", "neg", "not"):
        return _arithmetic(mnemonic, instruction, parts, values)
    return None


def _arithmetic(mnemonic: str, instruction: Instruction, parts: tuple[str, ...], values: Values) -> Flags | None:
    at = place(parts[0])
    size = at[1] if at is not None else 8
    if mnemonic in ("xor", "sub") and len(parts) == 2 and parts[0] == parts[1]:
        write(values, parts[0], Known(0))
        return None
    if mnemonic == "or" and number(parts[1]) == -1:
        write(values, parts[0], Known(_MASK))
        return None
    one = read(values, parts[0])
    other = read(values, parts[1]) if len(parts) == 2 else Known(1 if mnemonic in ("inc", "dec") else 0)
    if mnemonic == "neg" or one is None or other is None or mnemonic == "not":
        if mnemonic not in ("cmp", "test"):
            write(values, parts[0], None)
        return None
    a, b, mask = one.value & _mask(size), other.value & _mask(size), _mask(size)
    own = one.own or other.own
    if mnemonic in ("test", "and", "or", "xor"):
        result = {"or": a | b, "xor": a ^ b}.get(mnemonic, a & b)
        carry = overflow = False
    elif mnemonic in ("add", "inc"):
        result, carry = (a + b) & mask, a + b > mask
        overflow = _signed(a, size) + _signed(b, size) != _signed(result, size)
    else:
        result, carry = (a - b) & mask, a < b
        overflow = _signed(a, size) - _signed(b, size) != _signed(result, size)
    if mnemonic not in ("cmp", "test"):
        write(values, parts[0], Known(result, own))
    return Flags(result == 0, _signed(result, size) < 0, carry, overflow, own, instruction)
