"""Operands of instructions taken apart: registers read, written and used as addresses, constants.

From capstone's text, because its lists of registers and memory accesses are not reliable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stemrw.image import Instruction


def _register_table() -> dict[str, tuple[str, int]]:
    table = {}
    for letter in "abcd":
        x = f"{letter}x"
        for name, size in (f"r{x}", 8), (f"e{x}", 4), (x, 2), (f"{letter}l", 1), (f"{letter}h", 1):
            table[name] = (f"r{x}", size)
    for name in ("si", "di", "bp", "sp"):
        for spelled, size in (f"r{name}", 8), (f"e{name}", 4), (name, 2), (f"{name}l", 1):
            table[spelled] = (f"r{name}", size)
    for i in range(8, 16):
        for spelled, size in (f"r{i}", 8), (f"r{i}d", 4), (f"r{i}w", 2), (f"r{i}b", 1):
            table[spelled] = (f"r{i}", size)
    return table


REGISTERS = _register_table()
"""Every general register name → (64-bit register, size in bytes)."""

ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
CALLEE_SAVED = frozenset(("rbx", "rbp", "r12", "r13", "r14", "r15", "rsp"))
_READ_ONLY = frozenset(("cmp", "test", "push", "bt", "nop", "ucomisd", "comisd", "ucomiss", "comiss"))
_WRITE_ONLY = frozenset(("mov", "movabs", "lea", "movzx", "movsx", "movsxd", "pop"))
_WORD = re.compile(r"[a-z][a-z0-9]*")
_MEMORY = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Operands:
    """Operand text taken apart: canonical registers read as address, read as value, and written."""

    parts: tuple[str, ...]
    address: frozenset[str]
    read: frozenset[str]
    written: frozenset[str]
    stores: bool


def operands(instruction: Instruction) -> Operands:
    """Registers of an instruction, from its text. Implicit operands only for the common cases."""
    mnemonic = instruction.mnemonic.rpartition(" ")[2]
    parts = tuple(p.strip() for p in instruction.operands.split(",")) if instruction.operands else ()
    is_lea = mnemonic in ("lea", "nop")
    address: set[str] = set()
    read: set[str] = set()
    written: set[str] = set()
    for i, part in enumerate(parts):
        memory = _MEMORY.search(part)
        if memory:
            (read if is_lea else address).update(registers_in(memory[0]))
            continue
        names = registers_in(part)
        if i == 0 and mnemonic not in _READ_ONLY and not instruction.is_jump and not instruction.is_call:
            written |= names
            if mnemonic not in _WRITE_ONLY and not mnemonic.startswith("set") and not zeroing(mnemonic, parts):
                read |= names
        else:
            read |= names
            if mnemonic == "xchg":
                written |= names
    if zeroing(mnemonic, parts):
        read.clear()
    if (
        mnemonic in ("cdqe", "cwde", "cdq", "cqo")
        or mnemonic in ("mul", "div", "idiv")
        or (mnemonic == "imul" and len(parts) == 1)
    ):
        read.add("rax")
    if mnemonic in ("cdq", "cqo", "mul", "div", "idiv"):
        written.add("rdx")
    stores = bool(parts) and "[" in parts[0] and mnemonic not in _READ_ONLY and not instruction.is_call
    stores = stores and not instruction.is_jump
    stores |= mnemonic.startswith(("stos", "movsb", "movsw", "movsq"))
    return Operands(parts, frozenset(address), frozenset(read), frozenset(written), stores)


def registers_in(text: str) -> set[str]:
    return {REGISTERS[w][0] for w in _WORD.findall(text) if w in REGISTERS}


def zeroing(mnemonic: str, parts: tuple[str, ...]) -> bool:
    return mnemonic in ("xor", "sub") and len(parts) == 2 and parts[0] == parts[1]


def number(text: str, size: int = 8) -> int | None:
    """An immediate operand as a signed number of `size` bytes; None for anything else."""
    try:
        value = int(text, 0)
    except ValueError:
        return None
    bits = 8 * (size or 8)
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def constant_set(instruction: Instruction) -> tuple[str, int, int] | None:
    """(register, value, size) where an instruction puts a constant into a register."""
    parts = [p.strip() for p in instruction.operands.split(",")]
    if len(parts) != 2 or parts[0] not in REGISTERS:
        return None
    register, size = REGISTERS[parts[0]]
    if zeroing(instruction.mnemonic, tuple(parts)):
        return register, 0, size
    value = number(parts[1], size)
    if value is None or size < 4:
        return None
    if instruction.mnemonic in ("mov", "movabs"):
        return register, value, size
    if instruction.mnemonic == "or" and value == -1:
        return register, -1, size
    return None
