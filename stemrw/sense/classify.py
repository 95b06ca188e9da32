"""From the signal and the state at the stop to fault class, address and access.

What the kernel says is used where it says it (si_code, si_addr).  It is silent on general protection faults
(SI_KERNEL: non-canonical addresses, misaligned vector accesses, privileged instructions); the instruction decides then.
"""

from __future__ import annotations

import signal as signals
from dataclasses import dataclass

from stemrw.documents.fault_report import Access, FaultClass
from stemrw.sense.address_space import AddressSpace
from stemrw.sense.code import Decoded, MemoryAccess, decode, follows_call
from stemrw.sense.snapshot import CODE_BYTES, PAGE, SI_KERNEL, SYSCALL_BYTES, Fault, Snapshot

NULL_PAGES = 64 << 10
"""Addresses below are null dereferences."""
STACK_REACH = 64 << 10
"""A fault this close to the low end of a stack is an overflow of it, and this close to the stack pointer, by it."""
_LARGEST_FRAME = 1 << 30
_MAX_INSTRUCTION = 15


@dataclass(frozen=True)
class Classified:
    """What kind of fault it was."""

    fault_class: FaultClass
    address: int | None
    access: Access | None
    instruction: Decoded | None


def classify(fault: Fault, snapshot: Snapshot, space: AddressSpace) -> Classified:
    """Class, accessed address and access of the fault; the instruction if there is one at the program counter.

    A signal that was sent is an abort: a process that raises one gives up.
    """
    if fault.was_sent or fault.code is None or fault.signal == signals.SIGSYS:
        refused = fault.signal == signals.SIGSYS and not fault.was_sent
        return Classified("bad-syscall" if refused else "abort", None, None, _system_call(fault, snapshot, space))
    instruction = _decode(fault, snapshot, space)
    if fault.signal == signals.SIGSEGV:
        return _segmentation_fault(fault, snapshot, space, instruction)
    if fault.signal == signals.SIGBUS:
        address = fault.address if fault.code != SI_KERNEL else None
        return Classified("bus", address, _access(instruction, address), instruction)
    return Classified(_BY_SIGNAL[fault.signal], None, None, instruction)


_BY_SIGNAL: dict[int, FaultClass] = {
    signals.SIGFPE: "divide",
    signals.SIGILL: "illegal-instruction",
    signals.SIGTRAP: "trap",
    signals.SIGABRT: "abort",
}


def _segmentation_fault(
    fault: Fault, snapshot: Snapshot, space: AddressSpace, instruction: Decoded | None
) -> Classified:
    pc = fault.registers["rip"]
    if fault.code == SI_KERNEL:
        return _general_protection(fault, instruction)
    address = fault.address
    if not space.is_code(pc) or pc <= address < pc + _MAX_INSTRUCTION and not space.is_code(address):
        by_return = _was_reached_by_return(fault, snapshot, space)
        return Classified("return-address" if by_return else "wild-jump", address, "execute", None)
    access = _access(instruction, address)
    if address < NULL_PAGES:
        return Classified("null-dereference", address, access, instruction)
    if _is_stack_exhaustion(address, fault.registers["rsp"], snapshot):
        return Classified("stack-exhaustion", address, access, instruction)
    return Classified("wild-dereference", address, access, instruction)


def _general_protection(fault: Fault, instruction: Decoded | None) -> Classified:
    """No address from the kernel: find the operand that the processor refused."""
    if instruction is None:  # the program counter itself is non-canonical
        return Classified("wild-jump", fault.registers["rip"], "execute", None)
    wild = next((access for access in instruction.accesses if not access.canonical), None)
    if wild is not None:
        return Classified("wild-dereference", wild.address, wild.kind, instruction)
    if instruction.mnemonic in ("ret", "iretq"):
        return Classified("return-address", None, "execute", instruction)
    if instruction.mnemonic in ("call", "jmp"):
        return Classified("wild-jump", None, "execute", instruction)
    misaligned = next((access for access in instruction.accesses if _needs_alignment(access)), None)
    if misaligned is not None:
        return Classified("bus", misaligned.address, misaligned.kind, instruction)
    return Classified("illegal-instruction", None, None, instruction)  # privileged


def _needs_alignment(access: MemoryAccess) -> bool:
    return access.size >= 16 and access.address % min(access.size, 64) != 0


def _access(instruction: Decoded | None, address: int | None) -> Access | None:
    """How the instruction accesses an address; None if none of its operands is there."""
    if instruction is None or address is None:
        return None
    return next((access.kind for access in instruction.accesses if access.touches(address)), None)


def _was_reached_by_return(fault: Fault, snapshot: Snapshot, space: AddressSpace) -> bool:
    """Control went to no code: by `ret` if the word just popped is the program counter, unless a call has just pushed
    where it comes from."""
    stack = fault.registers["rsp"]
    pushed, popped = snapshot.memory.word(stack), snapshot.memory.word(stack - 8)
    place = space.place(pushed) if pushed is not None else None
    if place is not None and follows_call(place.module.read(place.address - 8, 8)):
        return False
    return popped == fault.registers["rip"]


def _is_stack_exhaustion(address: int, stack_pointer: int, snapshot: Snapshot) -> bool:
    """The address is just below a writable mapping, in nothing or a guard, where the stack pointer is about to go."""
    if not stack_pointer - STACK_REACH <= address < max(stack_pointer, stack_pointer & -PAGE) + STACK_REACH:
        return False
    inside = snapshot.mapping(address)
    if inside is not None and (inside.readable or inside.writable):
        return False
    above = next((mapping for mapping in snapshot.mappings if mapping.start > address and mapping.writable), None)
    if above is None:
        return False
    reach = _LARGEST_FRAME if above.path == "[stack]" and stack_pointer < above.start else STACK_REACH
    return above.start - address <= reach


def _decode(fault: Fault, snapshot: Snapshot, space: AddressSpace, before: int = 0) -> Decoded | None:
    """The instruction `before` bytes ahead of the program counter."""
    address = fault.registers["rip"] - before
    code = snapshot.memory.read(address, CODE_BYTES)
    place = space.place(address)
    if code is None and place is not None:
        code = place.module.read(place.address, CODE_BYTES)
    return decode(code, address, fault.registers, place.address if place else None) if code else None


def _system_call(fault: Fault, snapshot: Snapshot, space: AddressSpace) -> Decoded | None:
    """The system call behind which the thread stands, if it does."""
    instruction = _decode(fault, snapshot, space, SYSCALL_BYTES)
    return instruction if instruction and instruction.mnemonic == "syscall" else None
