"""Code as text: instructions of one function, with lengths, branch targets and operand text from capstone.

Only lengths, branches and text are taken from the disassembler: its memory access information is not reliable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

import capstone

JUMP_MNEMONICS = re.compile(r"j[a-z]+$|loopn?e?$")
_RIP = re.compile(r"\[rip (?P<sign>[+-]) (?P<disp>0x[0-9a-f]+|\d+)\]")
_HEX = re.compile(r"0x[0-9a-f]+$|\d+$")


@cache
def _is_call(mnemonic: str) -> bool:
    return mnemonic == "call" or mnemonic.endswith(" call")


@cache
def _is_jump(mnemonic: str) -> bool:
    return bool(JUMP_MNEMONICS.match(mnemonic.removeprefix("bnd ").removeprefix("notrack ")))


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction at a link-time address. `operands` is Intel-syntax text, as capstone prints it."""

    address: int
    size: int
    mnemonic: str
    operands: str

    @property
    def end(self) -> int:
        return self.address + self.size

    @property
    def target(self) -> int | None:
        """Where a direct call or jump leads; None for anything else."""
        if (self.is_call or self.is_jump) and _HEX.match(self.operands):
            return int(self.operands, 0)
        return None

    @property
    def is_call(self) -> bool:
        return _is_call(self.mnemonic)

    @property
    def is_jump(self) -> bool:
        """Any jump, conditional or not."""
        return _is_jump(self.mnemonic)

    @property
    def is_unconditional(self) -> bool:
        return self.is_jump and self.mnemonic.removeprefix("bnd ").removeprefix("notrack ") == "jmp"

    @property
    def is_return(self) -> bool:
        return self.mnemonic.rpartition(" ")[2] in ("ret", "retf", "iretq")

    @property
    def is_stop(self) -> bool:
        """Control cannot pass this instruction."""
        return self.is_return or self.is_unconditional or self.mnemonic in ("ud2", "hlt", "ud0", "ud1", "int3")

    @property
    def pointed(self) -> int | None:
        """The address that a RIP-relative operand names."""
        match = _RIP.search(self.operands)
        if match is None:
            return None
        displacement = int(match["disp"], 0)
        return self.end + (displacement if match["sign"] == "+" else -displacement)

    def __str__(self) -> str:
        return f"{self.mnemonic} {self.operands}".strip()


@lru_cache(maxsize=1)
def _disassembler() -> capstone.Cs:
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    machine.skipdata = False
    return machine


def decode(code: bytes, address: int, count: int = 0) -> Iterator[Instruction]:
    """Instructions from front to back; ends where bytes cannot be decoded. `count` 0 means all."""
    for at, size, mnemonic, operands in _disassembler().disasm_lite(code, address, count):
        yield Instruction(at, size, mnemonic, operands)
