"""Variables whose address a call is handed, and whether they are read although only the call sets them.

From the code in the order in which it stands; what objects point to in their turn is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stemrw.image import Function, Instruction
from stemrw.plan._operands import ARGUMENTS, CALLEE_SAVED, REGISTERS, number, operands
from stemrw.plan._reading import Reading

_OBJECT = 64
"""Bytes from an address on that are taken to be one object."""
_FIXED = 0x10000
"""Where addresses may begin that stand in the code as numbers."""
_SLOT = re.compile(r"\[(?P<base>r(?!ip)\w+)(?: (?P<sign>[+-]) (?P<offset>0x[0-9a-f]+|\d+))?\]")
_SIZES = {"byte": 1, "word": 2, "dword": 4, "qword": 8, "xmmword": 16, "ymmword": 32}


@dataclass(frozen=True, slots=True)
class _Place:
    """Memory: an offset to a register, or an address (`base` None); `size` bytes of it."""

    base: str | None
    offset: int
    size: int = 1


def reads_what_it_sets(reading: Reading, function: Function, call: Instruction) -> bool:
    """Whether the function reads a variable whose address the call is handed, and has not set it before the call."""
    body = reading.image.body(function)
    position = next((i for i, instruction in enumerate(body) if instruction.address == call.address), None)
    if position is None:
        return True
    handed = set(_handed(body[:position]))
    written = [place for place, is_read in _accesses(body[:position]) if not is_read]
    return any(
        is_read and place.base == one.base and 0 <= place.offset - one.offset < _OBJECT and not _covered(place, written)
        for place, is_read in _accesses(body)
        for one in handed
    )


def _covered(place: _Place, written: Sequence[_Place]) -> bool:
    return any(one.base == place.base and 0 <= place.offset - one.offset < one.size for one in written)


def _handed(before: Sequence[Instruction]) -> Iterator[_Place]:
    """The addresses in argument registers, also those that a register has kept over other calls, and that register."""
    leading: dict[str, frozenset[str]] = dict.fromkeys(ARGUMENTS, frozenset())  # to an argument, through these
    for instruction in reversed(before):
        if instruction.is_call:
            leading = {register: through for register, through in leading.items() if register in CALLEE_SAVED}
            continue
        ops = operands(instruction)
        through = leading.get(ops.parts[0]) if len(ops.parts) == 2 else None
        leading = {register: way for register, way in leading.items() if register not in ops.written}
        if through is None:
            continue
        source, mnemonic = ops.parts[1], instruction.mnemonic
        place = _place(source, instruction) if mnemonic == "lea" else None
        if mnemonic == "mov" and source == "rsp":
            place = _Place(source, 0)
        elif mnemonic in ("mov", "movabs") and (number(source, 8) or 0) >= _FIXED:
            place = _Place(None, number(source, 8) or 0)
        elif mnemonic == "mov" and REGISTERS.get(source, ("", 0))[1] == 8:
            leading[source] = through | {source}
        if place is not None:
            yield place
            yield from (_Place(register, 0) for register in through)


def _accesses(body: Sequence[Instruction]) -> Iterator[tuple[_Place, bool]]:
    """Places in memory with whether they are read, rather than only written."""
    for instruction in body:
        if instruction.mnemonic in ("lea", "nop"):
            continue
        for i, part in enumerate(operands(instruction).parts):
            place = _place(part, instruction)
            if place is not None:
                yield place, i > 0 or not instruction.mnemonic.startswith(("mov", "set", "vmov"))


def _place(operand: str, instruction: Instruction) -> _Place | None:
    size = _SIZES.get(operand.partition(" ptr ")[0], 1)
    slot = _SLOT.search(operand)
    if slot is not None:
        offset = int(slot["offset"] or "0", 0)
        return _Place(slot["base"], -offset if slot["sign"] == "-" else offset, size)
    if "[rip" in operand and instruction.pointed is not None:
        return _Place(None, instruction.pointed, size)
    return None
