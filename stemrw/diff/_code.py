"""Disassembly for people: every byte is shown, also where none or half an instruction stands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import capstone

from stemrw.documents.difference import CodeLine
from stemrw.elf import Elf

JUMP_LIMIT = 4
"""Jumps in a row that an entry may take to its gate."""
DISPLACED_BYTES = 256
"""More than the copies of one entry's replaced instructions need."""


@cache
def _disassembler() -> capstone.Cs:
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    machine.skipdata = True
    return machine


def disassemble(code: bytes, address: int) -> tuple[CodeLine, ...]:
    """The instructions of `code`, which stands at `address`."""
    lines = []
    for at, size, mnemonic, operands in _disassembler().disasm_lite(code, address):
        raw = code[at - address : at - address + size]
        lines.append(CodeLine(address=at, code=raw.hex(), text=f"{mnemonic} {operands}".strip()))
    return tuple(lines)


def target(line: CodeLine) -> int | None:
    """Where a direct jump leads; None for anything else."""
    mnemonic, _, operand = line.text.rpartition(" ")
    return int(operand, 16) if mnemonic == "jmp" and operand.startswith("0x") else None


def follow(elf: Elf, address: int) -> Sequence[int]:
    """The addresses that a chain of direct jumps passes from an address on, itself first."""
    passed = [address]
    while len(passed) <= JUMP_LIMIT:
        line = next(iter(disassemble(elf.code(passed[-1], 15), passed[-1])), None)
        following = target(line) if line is not None else None
        if following is None:
            break
        passed.append(following)
    return passed


def until_jump(lines: Sequence[CodeLine], to: int) -> tuple[CodeLine, ...]:
    """The lines up to the first jump to an address, itself included; empty where there is none."""
    for i, line in enumerate(lines):
        if target(line) == to:
            return tuple(lines[: i + 1])
    return ()
