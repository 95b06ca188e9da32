"""Moves the replaced instructions to another place, where they do what they did.

    instruction                        its copy
    ---------------------------------------------------------------------------------------------------------------
    without a place in it              the same bytes
    op …, [rip+d]                      the same bytes with d counted from the copy
    jmp t (short, near)                jmp rel32 t
    jcc t                              jcc rel32 t
    loop/loopz/loopnz/jrcxz t          itself with displacement 2; jmp short over the next; jmp rel32 t
    call t, call [m], call r           the *original* return address is pushed, then jmp: whatever looks at the stack
                                       (unwinder, backtrace, position-independent-code thunk) sees what it always saw
    xbegin, far branches, eip-relative refused

Behind the last copy comes a jump back behind the replaced bytes. Flags and registers are as the copies left them.
What was made is decoded again and compared with what was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import capstone
from iced_x86 import Code, Decoder, FlowControl, Instruction, Mnemonic, OpKind, Register

from stemrw.errors import BinaryError

NO_BOUNDARY = 255
"""In `Displaced.boundaries`: no instruction began at this byte."""

_SHORT_ONLY = (Mnemonic.LOOP, Mnemonic.LOOPE, Mnemonic.LOOPNE, Mnemonic.JRCXZ, Mnemonic.JECXZ)
_capstone = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


@dataclass(frozen=True)
class Displaced:
    """The copies. `boundaries[i]` is where in `code` the copy of the instruction at the i-th replaced byte begins."""

    code: bytes
    boundaries: bytes


def displace(instructions: Sequence[Instruction], original: bytes, to: int) -> Displaced:
    """Copies of `instructions`, which began at `original`'s bytes, for the address `to`.

    Raises BinaryError where an instruction cannot be moved.
    """
    first = instructions[0].ip
    code = bytearray()
    boundaries = bytearray([NO_BOUNDARY] * len(original))
    for instruction in instructions:
        start = instruction.ip - first
        raw = original[start : start + instruction.len]
        _check_decoders_agree(instruction, raw)
        boundaries[start] = len(code)
        code += _copy(instruction, raw, to + len(code), last=instruction is instructions[-1])
    code += jump(to + len(code), first + len(original))
    return Displaced(bytes(code), bytes(boundaries))


def jump(at: int, target: int) -> bytes:
    """`jmp rel32` for the address `at`."""
    return b"\xe9" + relative(at + 5, target)


def relative(end: int, target: int) -> bytes:
    """The 32-bit displacement of an instruction that ends at `end`; raises BinaryError out of reach."""
    distance = target - end
    if not -(1 << 31) <= distance < 1 << 31:
        raise BinaryError(f"{target:#x} is out of reach of a 32-bit displacement", address=end)
    return distance.to_bytes(4, "little", signed=True)


def _copy(instruction: Instruction, raw: bytes, at: int, *, last: bool) -> bytes:
    flow = instruction.flow_control
    if instruction.mnemonic == Mnemonic.CALL:  # by flow, syscall is a call too
        if not last:
            raise _immovable(instruction, "its return address lies within the replaced bytes")
        return _call(instruction, raw, at)
    if flow in (FlowControl.UNCONDITIONAL_BRANCH, FlowControl.CONDITIONAL_BRANCH):
        return _branch(instruction, raw, at)
    if flow == FlowControl.XBEGIN_XABORT_XEND and instruction.mnemonic == Mnemonic.XBEGIN:
        raise _immovable(instruction, "it begins a transaction")
    return _verbatim(instruction, raw, at)


def _verbatim(instruction: Instruction, raw: bytes, at: int) -> bytes:
    """The same bytes; a RIP-relative displacement is counted anew."""
    if not instruction.is_ip_rel_memory_operand:
        return raw
    if instruction.memory_base != Register.RIP:
        raise _immovable(instruction, "it addresses memory relative to eip")
    decoder = Decoder(64, raw, ip=instruction.ip)
    offset = decoder.get_constant_offsets(decoder.decode()).displacement_offset
    moved = raw[:offset] + relative(at + len(raw), instruction.ip_rel_memory_address) + raw[offset + 4 :]
    _check_same(instruction, moved, at)
    return moved


def _branch(instruction: Instruction, raw: bytes, at: int) -> bytes:
    if instruction.op0_kind != OpKind.NEAR_BRANCH64:
        raise _immovable(instruction, "it is a far branch")
    target = instruction.near_branch_target
    if instruction.mnemonic == Mnemonic.JMP:
        return jump(at, target)
    if instruction.mnemonic in _SHORT_ONLY:
        # prefixes (address size) and opcode stay; taken: over the short jump, to the long one
        head = raw[:-1] + b"\x02\xeb\x05"
        return head + jump(at + len(head), target)
    condition = raw[-5] & 15 if instruction.is_jcc_near else raw[-2] & 15
    return bytes([0x0F, 0x80 | condition]) + relative(at + 6, target)


def _call(instruction: Instruction, raw: bytes, at: int) -> bytes:
    """Push the original return address without touching flags or registers, then jump.

    The space below the stack pointer is free at a call: the callee is about to overwrite it.
    """
    if instruction.code in (Code.CALL_M1616, Code.CALL_M1632, Code.CALL_M1664):
        raise _immovable(instruction, "it is a far call")
    uses_stack_pointer = Register.RSP in (instruction.memory_base, instruction.op0_register)
    if instruction.flow_control == FlowControl.INDIRECT_CALL and uses_stack_pointer:
        raise _immovable(instruction, "its target depends on the stack pointer")
    code = bytes.fromhex("48894424f0")  # mov [rsp-16], rax
    code += b"\x48\x8d\x05" + relative(at + len(code) + 7, instruction.next_ip)  # lea rax, [rip+return]
    code += bytes.fromhex("48894424f8 488b4424f0 488d6424f8")  # mov [rsp-8], rax; mov rax, [rsp-16]; lea rsp, [rsp-8]
    if instruction.flow_control == FlowControl.CALL:
        return code + jump(at + len(code), instruction.near_branch_target)
    return code + _as_jump(instruction, raw, at + len(code))


def _as_jump(instruction: Instruction, raw: bytes, at: int) -> bytes:
    """`call r/m` (FF /2) as `jmp r/m` (FF /4), at another place."""
    opcode = raw.index(b"\xff")  # no prefix is FF
    changed = raw[: opcode + 1] + bytes([raw[opcode + 1] & 0xC7 | 4 << 3]) + raw[opcode + 2 :]
    decoded = Decoder(64, changed, ip=instruction.ip).decode()
    if decoded.mnemonic != Mnemonic.JMP or decoded.len != instruction.len:
        raise _immovable(instruction, "its form is unknown")
    return _verbatim(decoded, changed, at)


def _check_decoders_agree(instruction: Instruction, raw: bytes) -> None:
    """Whether a second decoder sees the same length."""
    if _second_length(raw) != instruction.len:
        raise _immovable(instruction, "two decoders do not agree on its length")


@lru_cache(maxsize=1 << 14)
def _second_length(raw: bytes) -> int | None:
    """Few instructions begin most functions, and `inspect` asks for every one."""
    decoded = next(_capstone.disasm_lite(raw, 0, 1), None)
    return decoded[1] if decoded is not None else None


def _check_same(instruction: Instruction, moved: bytes, at: int) -> None:
    decoded = Decoder(64, moved, ip=at).decode()
    same = (
        decoded.code == instruction.code
        and decoded.len == len(moved)
        and decoded.ip_rel_memory_address == instruction.ip_rel_memory_address
    )
    if not same:
        raise _immovable(instruction, "its copy would be another instruction")


def _immovable(instruction: Instruction, why: str) -> BinaryError:
    return BinaryError(
        f"`{instruction}` cannot be moved away: {why}",
        address=instruction.ip,
        hint="choose a caller of this function with --region or --frame",
    )
