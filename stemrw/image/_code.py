"""Code as text: instructions of one function, with lengths, branch targets and operand text from capstone.

Only lengths, branches and text are taken from the disassembler: its memory access information is not reliable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import capstone

JUMP_MNEMONICS = re.compile(r"j[a-z]+$|loopn?e?$")
_RIP = re.compile(r"\[rip (?P<sign>[+-]) (?P<disp>0x[0-9a-f]+|\d+)\]")
_HEX = re.compile(r"0x[0-9a-f]+$|\d+$")


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
        return self.mnemonic == "call" or self.mnemonic.endswith(" call")

    @property
    def is_jump(self) -> bool:
        """Any jump, conditional or not."""
        return bool(JUMP_MNEMONICS.match(self.mnemonic.removeprefix("bnd ").removeprefix("notrack ")))

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


def branch_candidates(code: bytes, address: int, low: int, high: int) -> Iterator[tuple[int, int]]:
    """(site, target) of every byte string that looks like a near call, jump or conditional jump into [low, high).

    A search over raw bytes: a site need not be an instruction boundary, so the caller decodes around it.

    Within a window of code the upper bytes of the 32-bit displacement of such a branch can take only a few values, and
    a plain substring search for those finds all candidates: milliseconds for megabytes of code. Near the target those
    bytes are all zeros or ones, as many others are; there the windows are small and three bytes are compared.
    """
    for window in range(0, len(code), 1 << 16):
        for upper in _upper_values(address, window, low, high, 16):
            if upper in (0, -1) and high - low <= 2048:
                for small in range(window, min(window + (1 << 16), len(code)), 1 << 8):
                    for value in _upper_values(address, small, low, high, 8):
                        if value >> 8 == upper:
                            yield from _in_window(code, address, small, value, 8, range(low, high))
            elif -0x8000 <= upper < 0x8000:
                yield from _in_window(code, address, window, upper, 16, range(low, high))


def _upper_values(base: int, window: int, low: int, high: int, shift: int) -> range:
    """What `displacement >> shift` can be for branches into [low, high) in a window of `1 << shift` bytes."""
    first = low - (base + window + (1 << shift) + 6) >> shift
    last = high - (base + window + 5) >> shift
    return range(first, last + 1)


_OPCODES = frozenset((0xE8, 0xE9, *range(0x80, 0x90)))


def _in_window(
    code: bytes, base: int, window: int, upper: int, shift: int, targets: range
) -> Iterator[tuple[int, int]]:
    pattern = (upper & (1 << 32 - shift) - 1).to_bytes(4 - shift // 8, "little")
    skipped = 1 + shift // 8  # opcode and the lower bytes of the displacement
    end = min(window + (1 << shift), len(code))
    at = code.find(pattern, window + skipped, end + 5)
    while at >= 0:
        opcode = at - skipped
        if opcode < end and code[opcode] in _OPCODES:
            target = base + opcode + 5 + int.from_bytes(code[opcode + 1 : opcode + 5], "little", signed=True)
            if target in targets:
                if code[opcode] >= 0xE8:
                    yield base + opcode, target
                elif opcode and code[opcode - 1] == 0x0F:
                    yield base + opcode - 1, target
        at = code.find(pattern, at + 1, end + 5)
