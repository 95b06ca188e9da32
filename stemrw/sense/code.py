"""The faulting instruction: its text, the memory it accesses, and whether it reads or writes there.

The kernel does not pass on the processor's error code, so the access is derived from the instruction.  iced-x86 knows
the operands of every instruction, implicit ones too; capstone's access kinds are wrong for many.
"""

from __future__ import annotations

from collections.abc import Mapping as Registers
from dataclasses import dataclass
from typing import Literal

import iced_x86
from iced_x86 import MemorySizeExt, OpAccess, Register, RegisterExt

_WORD = (1 << 64) - 1
_CANONICAL = 1 << 47
_LARGEST_ELEMENT = 8
"""Bytes that a string instruction handles at once."""
_WRITES = (OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE)

_NO_REGISTER = frozenset((Register.NONE, Register.RIP, Register.EIP))
"""What adds nothing to a displacement: those relative to the instruction pointer are absolute already."""
_SEGMENT_BASES = {Register.FS: "fs_base", Register.GS: "gs_base"}

_IMMEDIATES = (iced_x86.OpKind.IMMEDIATE8TO64, iced_x86.OpKind.IMMEDIATE32TO64)

_names = {value: name.lower() for name, value in vars(Register).items() if name.isupper()}
_information = iced_x86.InstructionInfoFactory()
_formatter = iced_x86.Formatter(iced_x86.FormatterSyntax.INTEL)
_formatter.hex_prefix, _formatter.hex_suffix, _formatter.uppercase_hex = "0x", "", False
_formatter.space_after_operand_separator, _formatter.branch_leading_zeros = True, False


@dataclass(frozen=True)
class MemoryAccess:
    """Address, bytes (0: unknown, as of a repeated string instruction), and what is done there.

    What reads first and then writes is a write: so is its page fault.
    """

    address: int
    size: int
    kind: Literal["read", "write"]

    @property
    def canonical(self) -> bool:
        return self.address < _CANONICAL or self.address >= _WORD + 1 - _CANONICAL

    def touches(self, address: int) -> bool:
        return self.address <= address < self.address + (self.size or _LARGEST_ELEMENT)


@dataclass(frozen=True)
class Decoded:
    """One instruction and what it would access with given registers."""

    code: bytes
    mnemonic: str
    text: str
    accesses: tuple[MemoryAccess, ...]


def decode(
    code: bytes, address: int, registers: Registers[str, int], link_address: int | None = None
) -> Decoded | None:
    """The instruction at the start of `code`, which runs at `address`; its text speaks of link-time addresses.

    None if it is none.
    """
    instruction = iced_x86.Decoder(64, code, ip=address & _WORD).decode()
    if not instruction:
        return None
    accesses = []
    for used in _information.info(instruction).used_memory():
        where = _address(used, registers)
        if where is not None and used.access != OpAccess.NO_MEM_ACCESS:
            kind: Literal["read", "write"] = "write" if used.access in _WRITES else "read"
            accesses.append(MemoryAccess(where, MemorySizeExt.size(used.memory_size), kind))
    shown = iced_x86.Decoder(64, code, ip=address & _WORD if link_address is None else link_address).decode()
    text = str(_formatter.format(shown))
    mnemonic = str(_formatter.format_mnemonic(instruction, iced_x86.FormatMnemonicOptions.NO_PREFIXES))
    return Decoded(code[: instruction.len], mnemonic, text, tuple(accesses))


def prologue_depth(code: bytes) -> int:
    """Bytes that a function's first instructions, up to a call or branch, put on the stack below the return address."""
    depth = 0
    for instruction in iced_x86.Decoder(64, code):
        if instruction.flow_control != iced_x86.FlowControl.NEXT:
            break
        depth -= instruction.stack_pointer_increment
        known = instruction.mnemonic == iced_x86.Mnemonic.SUB and instruction.op1_kind in _IMMEDIATES
        if known and instruction.op0_register == Register.RSP:
            depth += instruction.immediate(1)
    return depth


def follows_call(code: bytes) -> bool:
    """Whether the bytes end with a call instruction (direct or indirect), of 2 to 8 bytes."""
    for size in range(2, min(8, len(code)) + 1):
        instruction = iced_x86.Decoder(64, code[-size:]).decode()
        if instruction.len == size and instruction.mnemonic == iced_x86.Mnemonic.CALL:
            return True
    return False


def _address(used: iced_x86.UsedMemory, registers: Registers[str, int]) -> int | None:
    """Effective address; None where a register is unknown (vector indices of gather and scatter)."""
    address = used.displacement
    for register, scale in ((used.base, 1), (used.index, used.scale)):
        if register in _NO_REGISTER:
            continue
        full = _names[RegisterExt.full_register(register)]
        if full not in registers:
            return None
        value = registers[full]
        address += (value & 0xFFFFFFFF if RegisterExt.size(register) == 4 else value) * scale
    if used.address_size == iced_x86.CodeSize.CODE32:
        address &= 0xFFFFFFFF
    segment = _SEGMENT_BASES.get(used.segment)
    address += registers[segment] if segment else 0
    return int(address) & _WORD
