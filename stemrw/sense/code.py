"""The faulting instruction: its text, the memory it accesses, and whether it reads or writes there.

The kernel does not pass on the processor's error code, so the access is derived.  capstone's access flags are wrong for
many instructions (vector stores shown as reads): only lengths, operands and text are taken from it.  By the manuals' rule
the first operand is the one written, with the exceptions listed here.
"""

from __future__ import annotations

from collections.abc import Mapping as Registers
from dataclasses import dataclass
from typing import Literal

import capstone
from capstone import x86

_READ_ONLY = frozenset(
    [
        "cmp",
        "test",
        "push",
        "call",
        "jmp",
        "bt",
        "div",
        "idiv",
        "mul",
        "imul",
        "fld",
        "fild",
        "fbld",
        "fadd",
        "fsub",
        "fsubr",
        "fmul",
        "fdiv",
        "fdivr",
        "fcom",
        "fcomp",
        "fiadd",
        "fisub",
        "fisubr",
        "fimul",
        "fidiv",
        "fidivr",
        "ficom",
        "ficomp",
        "fldcw",
        "fldenv",
        "frstor",
        "fxrstor",
        "fxrstor64",
        "ldmxcsr",
        "vldmxcsr",
        "xrstor",
        "xrstor64",
        "prefetchnta",
        "prefetcht0",
        "prefetcht1",
        "prefetcht2",
        "prefetchw",
        "nop",
        "comiss",
        "comisd",
        "ucomiss",
        "ucomisd",
        "vcomiss",
        "vcomisd",
        "vucomiss",
        "vucomisd",
        "ptest",
        "vptest",
        "vtestps",
        "vtestpd",
        "lods",
        "lodsb",
        "lodsw",
        "lodsd",
        "lodsq",
        "scas",
        "scasb",
        "scasw",
        "scasd",
        "scasq",
        "cmps",
        "cmpsb",
        "cmpsw",
        "cmpsd",
        "cmpsq",
        "clflush",
        "clflushopt",
        "clwb",
        "lgdt",
        "lidt",
        "lldt",
        "ltr",
        "ljmp",
        "lcall",
        "verr",
        "verw",
    ]
)
_WRITES_SECOND = frozenset(("xchg", "cmpxchg", "xadd"))
_PREFIXES = (
    "lock ",
    "rep ",
    "repe ",
    "repne ",
    "bnd ",
    "notrack ",
    "xacquire ",
    "xrelease ",
)
_WORD = (1 << 64) - 1
_CANONICAL = 1 << 47

_decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
_decoder.detail = True


@dataclass(frozen=True)
class MemoryAccess:
    """Address, bytes, and what is done there."""

    address: int
    size: int
    kind: Literal["read", "write"]

    @property
    def canonical(self) -> bool:
        return self.address < _CANONICAL or self.address >= _WORD + 1 - _CANONICAL

    def touches(self, address: int) -> bool:
        return self.address <= address < self.address + max(self.size, 1)


@dataclass(frozen=True)
class Decoded:
    """One instruction and what it would access with given registers."""

    code: bytes
    mnemonic: str
    text: str
    accesses: tuple[MemoryAccess, ...]


def decode(code: bytes, address: int, registers: Registers[str, int]) -> Decoded | None:
    """The instruction at the start of `code`; None if it is none."""
    instruction = next(_decoder.disasm(code, address, 1), None)
    if instruction is None:
        return None
    mnemonic = instruction.mnemonic
    for prefix in _PREFIXES:
        mnemonic = mnemonic.removeprefix(prefix)
    accesses = [
        *_operands(instruction, mnemonic, registers),
        *_stack(instruction, mnemonic, registers),
    ]
    text = f"{instruction.mnemonic} {instruction.op_str}".strip()
    return Decoded(bytes(instruction.bytes), mnemonic, text, tuple(accesses))


def follows_call(code: bytes) -> bool:
    """Whether the bytes end with a call instruction (direct or indirect), of 2 to 8 bytes."""
    for size in range(2, 9):
        tail = code[-size:]
        if len(tail) < size or not (
            tail[0] in (0xE8, 0xFF)
            or tail[0] in (0x3E, 0x67, 0xF2)
            or 0x40 <= tail[0] <= 0x4F
        ):
            continue
        instruction = next(_decoder.disasm(tail, 0, 1), None)
        if (
            instruction is not None
            and instruction.size == size
            and instruction.id == x86.X86_INS_CALL
        ):
            return True
    return False


def _operands(
    instruction: capstone.CsInsn, mnemonic: str, registers: Registers[str, int]
) -> list[MemoryAccess]:
    """Memory operands with known addresses (no gather or scatter)."""
    found: list[MemoryAccess] = []
    if mnemonic == "lea":
        return found
    for index, operand in enumerate(instruction.operands):
        if operand.type != x86.X86_OP_MEM:
            continue
        address = _effective_address(instruction, operand.mem, registers)
        if address is None:
            continue
        written = (
            index == 0 and mnemonic not in _READ_ONLY or mnemonic in _WRITES_SECOND
        )
        found.append(
            MemoryAccess(address, operand.size, "write" if written else "read")
        )
    return found


def _effective_address(
    instruction: capstone.CsInsn, memory: x86.X86OpMem, registers: Registers[str, int]
) -> int | None:
    address = int(memory.disp)
    for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
        if register in (x86.X86_REG_INVALID, x86.X86_REG_RIZ, x86.X86_REG_EIZ):
            continue
        value = _value(instruction, register, registers)
        if value is None:
            return None
        address += value * scale
    if instruction.addr_size == 4:
        address &= 0xFFFFFFFF
    if memory.segment == x86.X86_REG_FS:
        address += registers["fs_base"]
    elif memory.segment == x86.X86_REG_GS:
        address += registers["gs_base"]
    return address & _WORD


def _value(
    instruction: capstone.CsInsn, register: int, registers: Registers[str, int]
) -> int | None:
    name = str(instruction.reg_name(register))
    if name in ("rip", "eip"):
        return int(instruction.address) + int(instruction.size)
    if name in registers:
        return registers[name]
    full = f"r{name[1:]}" if name.startswith("e") else name.removesuffix("d")
    return (
        registers[full] & 0xFFFFFFFF if full in registers else None
    )  # a 32-bit register; None: a vector index


def _stack(
    instruction: capstone.CsInsn, mnemonic: str, registers: Registers[str, int]
) -> list[MemoryAccess]:
    """What push, pop, call and ret do at the stack pointer."""
    top = registers["rsp"]
    if mnemonic in ("push", "pushfq", "call"):
        return [MemoryAccess(top - 8 & _WORD, 8, "write")]
    if mnemonic in ("pop", "popfq", "ret"):
        return [MemoryAccess(top, 8, "read")]
    if mnemonic == "leave":
        return [MemoryAccess(registers["rbp"], 8, "read")]
    if mnemonic == "enter":
        return [MemoryAccess(top - 8 & _WORD, 8, "write")]
    return []
