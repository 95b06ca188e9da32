"""Which bytes of a function's entry are replaced by the jump to its gate, and whether that is safe.

    function: endbr64                  kept: indirect calls land here
    address:  push rbp                 ┐
              mov  rbp, rsp            │ whole instructions, at least the 5 bytes of `jmp gate`
              sub  rsp, 32             ┘
              …                        the displaced copies end with a jump to here

Safe means that nothing but the entry itself leads into the replaced bytes: a direct jump to the second or a later byte
would land in the middle of our jump.  Relative 32-bit branches are searched for in the whole text, at every byte (a
wrong hit is one in millions); the short ones by following the function's own instructions.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from iced_x86 import Decoder, FlowControl, Instruction, Mnemonic

from stemrw.elf import Elf
from stemrw.errors import BinaryError

JUMP_SIZE = 5
"""Bytes of `jmp rel32`."""
ENDBR64 = b"\xf3\x0f\x1e\xfa"
_UNKNOWN_SIZE_SWEEP = 256
_NEVER_CONTINUE = (FlowControl.RETURN, FlowControl.UNCONDITIONAL_BRANCH, FlowControl.INDIRECT_BRANCH)
_DIRECT = (FlowControl.UNCONDITIONAL_BRANCH, FlowControl.CONDITIONAL_BRANCH, FlowControl.CALL)


@dataclass(frozen=True)
class Entry:
    """Replaced bytes: the instructions that begin in them (padding left out), and what they were.

    `function` and `size` (bytes; 0: unknown) are the function's; `address` differs from `function` by an endbr64.
    """

    function: int
    size: int
    address: int
    instructions: tuple[Instruction, ...]
    original: bytes

    @property
    def inside(self) -> range:
        """Addresses at which nothing may arrive any more."""
        return range(self.address + 1, self.address + len(self.original))


def find_entry(elf: Elf, function: int, size: int) -> Entry:
    """The replaceable bytes at the entry of a function that is `size` bytes long (0: unknown).

    Raises BinaryError: no code there, too short, undecodable.
    """
    code = elf.code(function, 64)
    if not code:
        raise BinaryError("there is no code at this address", address=function)
    skip = len(ENDBR64) if code.startswith(ENDBR64) else 0
    taken: list[Instruction] = []
    length, ended = 0, False
    for instruction in Decoder(64, code[skip:], ip=function + skip):
        if length >= JUMP_SIZE:
            break
        ended = ended or (size > 0 and instruction.ip >= function + size)
        if instruction.is_invalid:
            raise BinaryError("the function's first instructions cannot be decoded", address=instruction.ip)
        if ended and not _is_padding(instruction, function):
            what = f"the function is only {length} bytes long and has no room behind it: no jump fits in"
            raise BinaryError(what, address=function, hint="choose a caller of this function")
        if not ended:
            taken.append(instruction)
        length += instruction.len
        ended = ended or instruction.flow_control in _NEVER_CONTINUE
    if length < JUMP_SIZE:
        raise BinaryError("the function is cut off by the end of its segment", address=function)
    return Entry(function, size, function + skip, tuple(taken), code[skip : skip + length])


def check_not_entered(elf: Elf, entries: Sequence[Entry]) -> None:
    """Raise BinaryError if a direct branch leads in between the replaced bytes of an entry."""
    several = [entry for entry in entries if len(entry.instructions) > 1]
    for entry in several:
        taken = range(entry.address, entry.address + len(entry.original))
        for source, target in chain(_branches(elf, entry), _near_branches(elf, entry.inside)):
            if target in entry.inside and source not in taken:
                raise _entered(entry, source, target)


def _branches(elf: Elf, entry: Entry) -> Iterator[tuple[int, int]]:
    """Source and target of the direct branches of the function (of unknown size: up to its first return)."""
    for instruction in Decoder(64, elf.code(entry.function, entry.size or _UNKNOWN_SIZE_SWEEP), ip=entry.function):
        if not entry.size and (instruction.is_invalid or instruction.flow_control == FlowControl.RETURN):
            break
        if instruction.flow_control in _DIRECT:
            yield instruction.ip, instruction.near_branch_target


def _near_branches(elf: Elf, targets: range) -> Iterator[tuple[int, int]]:
    """Source and target of what could be a call, jmp or jcc rel32 into `targets`, at every byte of the text.

    The displacement's upper three bytes are the same for 256 neighbouring places: so each stretch of the text is
    searched for the one value that would lead to the targets from there, which is a hundred times faster than to look
    at every opcode.
    """
    for load in elf.code_segments:
        end = load.address + load.file_size
        for high in range((targets.start - end) >> 8, ((targets.stop - load.address) >> 8) + 1):
            # displacement fields that lead to a target and have `high` above their lowest byte
            first = max(targets.start - 4 - 255 - (high << 8), load.address + 1)
            last = min(targets.stop - 1 - 4 - (high << 8), end - 4)
            pattern = (high & 0xFFFFFF).to_bytes(3, "little")
            shift = load.offset - load.address
            at = elf.data.find(pattern, first + 1 + shift, last + 4 + shift)
            while at >= 0:
                field = at - 1
                target = field - shift + 4 + int.from_bytes(elf.data[field : field + 4], "little", signed=True)
                opcode = _opcode_size(elf.data, field)
                if opcode and target in targets:
                    yield field - shift - opcode, target
                at = elf.data.find(pattern, at + 1, last + 4 + shift)


def _opcode_size(data: bytes | mmap.mmap, field: int) -> int:
    """Bytes of the branch opcode in front of a 32-bit displacement; 0: none."""
    if data[field - 1] in (0xE8, 0xE9):
        return 1
    return 2 if data[field - 2] == 0x0F and data[field - 1] & 0xF0 == 0x80 else 0


def _is_padding(instruction: Instruction, function: int) -> bool:
    """Filler up to the next 16-byte boundary: no other function begins in it."""
    return instruction.mnemonic in (Mnemonic.NOP, Mnemonic.INT3) and instruction.ip <= (function | 15)


def _entered(entry: Entry, source: int, target: int) -> BinaryError:
    return BinaryError(
        f"the function's first bytes cannot be replaced: the branch at {source:#x} leads to {target:#x}, between them",
        address=entry.function,
        hint="choose a caller of this function with --region or --frame",
    )
