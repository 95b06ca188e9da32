"""Reads entries, gates and displaced instructions back, and compares what they do with what they should do.

    entry      jmp gate                      or, with a stone: jmp short stone; the stone is jmp gate
    gate       see the end of runtime/include/abi.h
    displaced  a copy of each replaced instruction that does the same from another place, then jmp behind the entry

Equal text (Intel syntax, addresses absolute) means equal effect, where a copy is not one of these:

    jmp, jcc                 any length, same condition, same target
    loop, jrcxz and kin      over a jump over a jump to the same target
    call                     the original return address is pushed, through rax below rsp; a jump to the same target
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from iced_x86 import Decoder, FlowControl, Formatter, FormatterSyntax, Instruction, Mnemonic, OpKind

from stemrw.documents.manifest import Patch
from stemrw.elf import Elf

JUMP_BYTES = 5
"""Of `jmp rel32`."""
_NO_BOUNDARY = 255
_LONGEST = 15
_COPIES = 512
"""More bytes than displaced instructions ever have."""
_COUNTED = (Mnemonic.LOOP, Mnemonic.LOOPE, Mnemonic.LOOPNE, Mnemonic.JRCXZ, Mnemonic.JECXZ)
_FILLER = (Mnemonic.NOP, Mnemonic.INT3)
_PUSH_BEFORE = ("mov [rsp-10h],rax",)
_PUSH_AFTER = ("mov [rsp-8],rax", "mov rax,[rsp-10h]", "lea rsp,[rsp-8]")

_format = Formatter(FormatterSyntax.NASM)
_format.rip_relative_addresses = False
_format.branch_leading_zeros = False
_format.displacement_leading_zeros = False
_format.show_branch_size = False


def entry(hardened: Elf, patch: Patch) -> Iterator[str]:
    """The way from the function's entry to its gate."""
    first = _one(hardened, patch.address)
    if patch.stone is None:
        if not _jumps(first, patch.gate):
            yield f"the entry does not jump to the gate at {patch.gate:#x}"
    elif not _jumps(first, patch.stone) or not _jumps(_one(hardened, patch.stone), patch.gate):
        yield f"the entry does not jump to the gate at {patch.gate:#x} by way of {patch.stone:#x}"
    behind = hardened.read(patch.address + first.len, patch.length - first.len)
    if behind.strip(b"\xcc"):
        yield "behind the jump at the entry there is something else than int3"


def gate(hardened: Elf, patch: Patch, *, record: int, handlers: range, native: int) -> Iterator[str]:
    """The gate, instruction by instruction.

    `record` is the address of its struct patch, `handlers` are those to which it may jump.
    """
    code = list(_decode(hardened, patch.gate, 64, count=7))
    expected = (
        "lea rsp,[rsp-80h]",
        "push r11",
        f"lea r11,[{_hex(record)}]",
        _text(code[3]) if len(code) > 3 and _jumps_into(code[3], handlers) else f"jmp {_hex(handlers.start)}",
        "pop r11",
        "lea rsp,[rsp+80h]",
        f"jmp {_hex(patch.displaced)}",
    )
    found = tuple(map(_text, code))
    if found != expected:
        first = next((f"`{a}` instead of `{b}`" for a, b in zip(found, expected, strict=False) if a != b), "cut off")
        yield f"the gate is wrong: {first}"
    elif code[4].ip != patch.gate + native:
        yield "the gate's native part is not where the runtime expects it"


def displaced(original: Elf, hardened: Elf, patch: Patch, boundaries: bytes) -> Iterator[str]:
    """Each copy does what the replaced instruction did, and the last leads back behind the entry."""
    replaced = list(_decode(original, patch.address, patch.length))
    if sum(instruction.len for instruction in replaced) != patch.length:
        yield "the replaced bytes are not whole instructions"
        return
    copies = list(_decode(hardened, patch.displaced, _COPIES))
    at = 0
    starts = {instruction.ip - patch.address for instruction in replaced}
    for i, boundary in enumerate(boundaries[: patch.length]):
        if boundary != _NO_BOUNDARY and i not in starts:
            yield f"a boundary is noted at byte {i}, where no instruction begins"
    for i, instruction in enumerate(replaced):
        boundary = boundaries[instruction.ip - patch.address]
        if boundary == _NO_BOUNDARY:
            if any(other.mnemonic not in _FILLER for other in replaced[i:]):
                yield f"`{_text(instruction)}` has no copy"
                return
            break
        if at >= len(copies) or copies[at].ip != patch.displaced + boundary:
            yield f"the copy of `{_text(instruction)}` is not where the table says"
            return
        used = _copy_length(instruction, copies[at:])
        if not used:
            yield f"`{_text(instruction)}` became `{_text(copies[at])}`"
            return
        at += used
    if at >= len(copies) or not _jumps(copies[at], patch.address + patch.length):
        yield "the displaced instructions do not lead back behind the entry"


def _copy_length(instruction: Instruction, copies: Sequence[Instruction]) -> int:
    """How many instructions the copy takes up; 0: it is none."""
    flow = instruction.flow_control
    if instruction.mnemonic in _COUNTED:
        over = len(copies) >= 3 and copies[0].near_branch_target == copies[2].ip
        same = copies[0].mnemonic == instruction.mnemonic and _same_prefixes(instruction, copies[0])
        is_way = over and _jumps(copies[1], copies[2].next_ip) and _jumps(copies[2], instruction.near_branch_target)
        return 3 if same and is_way else 0
    if instruction.mnemonic == Mnemonic.CALL:
        return _call_length(instruction, copies)
    if flow in (FlowControl.UNCONDITIONAL_BRANCH, FlowControl.CONDITIONAL_BRANCH):
        same = copies[0].mnemonic == instruction.mnemonic and copies[0].op0_kind == OpKind.NEAR_BRANCH64
        return int(same and copies[0].near_branch_target == instruction.near_branch_target)
    return int(copies[0].code == instruction.code and _text(copies[0]) == _text(instruction))


def _same_prefixes(a: Instruction, b: Instruction) -> bool:
    return a.code == b.code  # the count register is part of it


def _call_length(instruction: Instruction, copies: Sequence[Instruction]) -> int:
    pushed = (*_PUSH_BEFORE, f"lea rax,[{_hex(instruction.next_ip)}]", *_PUSH_AFTER)
    jump = _text(instruction).replace("call", "jmp", 1)
    length = len(pushed) + 1
    return length if tuple(map(_text, copies[:length])) == (*pushed, jump) else 0


def _jumps(instruction: Instruction, target: int) -> bool:
    return instruction.mnemonic == Mnemonic.JMP and _is_near(instruction) and instruction.near_branch_target == target


def _jumps_into(instruction: Instruction, targets: range) -> bool:
    return instruction.mnemonic == Mnemonic.JMP and _is_near(instruction) and instruction.near_branch_target in targets


def _is_near(instruction: Instruction) -> bool:
    return instruction.op0_kind == OpKind.NEAR_BRANCH64


def _one(elf: Elf, address: int) -> Instruction:
    return Decoder(64, elf.read(address, _LONGEST), ip=address).decode()


def _decode(elf: Elf, address: int, size: int, count: int | None = None) -> Iterator[Instruction]:
    for i, instruction in enumerate(Decoder(64, elf.read(address, size), ip=address)):
        if instruction.is_invalid or i == count:
            return
        yield instruction


def _text(instruction: Instruction) -> str:
    text: str = _format.format(instruction)
    return text.replace("short ", "").replace("near ", "").replace("rel ", "").replace("qword ", "")


def _hex(address: int) -> str:
    """An address as the formatter writes it."""
    digits = f"{address:X}h"
    return digits if digits[0].isdigit() else "0" + digits
