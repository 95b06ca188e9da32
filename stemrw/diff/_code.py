"""Disassembly for people: every byte is shown, also where none or half an instruction stands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import capstone

from stemrw.documents.difference import CodeLine

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


def until_jump(lines: Sequence[CodeLine], to: int) -> tuple[CodeLine, ...]:
    """The lines up to the first jump to an address, itself included; empty where there is none."""
    for i, line in enumerate(lines):
        if target(line) == to:
            return tuple(lines[: i + 1])
    return ()
