"""What lies around the bytes to be replaced: other functions, branches that lead there, padding that nobody uses.

Whatever can lead into replaced bytes is looked for:

    where functions begin      unwind entries, symbols, the entry point: called directly or through a pointer
    branches with 32 bits      at every byte of the text (a wrong hit is one in millions)
    branches with 8 bits       the instructions within their reach, decoded from the start of the function there
    tables of a switch         what the function's own indirect jumps read
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain, pairwise

from iced_x86 import Decoder, FlowControl, Instruction, Mnemonic, OpKind

from stemrw.elf import Elf, branches_into, symbol_table
from stemrw.elf.constants import SHT_DYNSYM, SHT_SYMTAB, STT_NOTYPE
from stemrw.image import unwind_table

NEVER_CONTINUE = frozenset((
    FlowControl.RETURN, FlowControl.UNCONDITIONAL_BRANCH, FlowControl.INDIRECT_BRANCH, FlowControl.EXCEPTION,
))  # fmt: skip
"""What an instruction does behind which control never arrives.  (`ud2` is an exception; a call may not return, but
that is not to be seen from here.)"""

SHORT_REACH = 128
"""How far a branch with an 8-bit displacement leads backwards from its end; forwards it is one byte less."""

_RESYNCHRONISES = 64
_FAR_START = 4096
_LARGEST_DECODED = 1 << 20
_WORTH_AN_INDEX = 16
_NEAR_BRANCH = re.compile(rb"[\xe8\xe9]|\x0f[\x80-\x8f]")
_DISPLACEMENT = struct.Struct("<i")


def is_padding(instruction: Instruction) -> bool:
    """Whether an instruction is what compilers and linkers fill the room between functions with."""
    return instruction.mnemonic in (Mnemonic.NOP, Mnemonic.INT3)


class Surroundings:
    """The code around places of one file.  `entries` are further addresses that are known to be entered."""

    def __init__(self, elf: Elf, entries: Iterable[int] = ()) -> None:
        self._elf = elf
        self._unwind = unwind_table(elf)
        self._entries = tuple(entries)
        self._asked = 0

    def expect_many(self) -> None:
        """Prepare for more places than would be worth searching the text for, one after the other."""
        self._asked = _WORTH_AN_INDEX

    @cached_property
    def _sized(self) -> dict[int, int]:
        """Address → size in bytes of every label in the symbol tables; 0: a label without size."""
        found: dict[int, int] = {}
        for kind in (SHT_SYMTAB, SHT_DYNSYM):
            for address, size, _ in symbol_table(self._elf, kind).functions(STT_NOTYPE):
                if found.get(address, -1) < size:
                    found[address] = size
        return found

    @cached_property
    def _starts(self) -> list[int]:
        return sorted({*self._unwind.starts, *self._sized, self._elf.entry, *self._entries})

    def arrival(self, places: range, own: frozenset[int], *, near: bool = True) -> str | None:
        """How control may arrive in `places` other than from above them, in words; None if nothing is known to.

        `own` are the addresses of instructions that lie there. Without `near`, 32-bit branches are not looked for.
        """
        i = bisect_left(self._starts, places.start)
        if i < len(self._starts) and self._starts[i] in places:
            return f"another function begins at {self._starts[i]:#x}"
        for source, target in chain(self._short_branches(places), self._near_branches(places) if near else ()):
            inside = source in range(places.start - 1, places.stop)
            if source in own or (not inside and self._may_be_instruction(source)):
                return f"the branch at {source:#x} leads to {target:#x}"
        return None

    def switch_arrival(self, function: int, size: int, places: range) -> str | None:
        """As `arrival`: through the tables that the function's indirect jumps read."""
        code = range(function, function + min(size, _LARGEST_DECODED))
        body = list(Decoder(64, self._elf.code(function, len(code)), ip=function))
        if not any(i.flow_control == FlowControl.INDIRECT_BRANCH and not i.is_ip_rel_memory_operand for i in body):
            return None
        for table in dict.fromkeys(address for i in body for address in _table_addresses(i)):
            if any(target in places for target in self._table_targets(table, code)):
                return f"a switch leads there, by the table at {table:#x}"
        return None

    def padding(self, low: int, high: int) -> Iterator[range]:
        """Room between functions that begins or ends in [low, high), by address: nothing in it is ever executed.

        The function in front ends for certain (by its unwind entry or symbol, with an instruction that never
        continues), what follows up to the next known function is filler, and nothing leads there.
        """
        first = max(bisect_right(self._starts, low) - 2, 0)
        for start, following in pairwise(self._starts[first : bisect_right(self._starts, high) + 1]):
            end = self._end(start)
            if end is None or end >= following or end >= high or following <= low:
                continue
            if self._is_filler(end, following) and self.arrival(range(end, following), frozenset()) is None:
                yield range(end, following)

    def _may_be_instruction(self, address: int) -> bool:
        """Whether an instruction begins there, decoding from the start of its function; True where nobody knows."""
        fde = self._unwind.at(address)
        if fde is None or address - fde.start > _LARGEST_DECODED:
            return True
        size = address - fde.start
        at = fde.start
        for instruction in Decoder(64, self._elf.code(fde.start, size), ip=fde.start):
            if instruction.is_invalid and instruction.next_ip < address:
                return True
            at = instruction.next_ip
        return at == address

    def _end(self, start: int) -> int | None:
        """Where the code that begins at a known start ends for certain, with an instruction that never continues."""
        fde = self._unwind.at(start)
        begin, end = (fde.start, fde.start + fde.size) if fde else (start, start + self._sized.get(start, 0))
        if not 0 < end - begin <= _LARGEST_DECODED:
            return None
        last = None
        for last in Decoder(64, self._elf.code(begin, end - begin), ip=begin):  # noqa: B007 - the last one is wanted
            pass
        return end if last is not None and last.next_ip == end and last.flow_control in NEVER_CONTINUE else None

    def _is_filler(self, start: int, end: int) -> bool:
        code = self._elf.code(start, end - start)
        instructions = list(Decoder(64, code, ip=start))
        return len(code) == end - start and all(map(is_padding, instructions)) and instructions[-1].next_ip == end

    def _short_branches(self, places: range) -> Iterator[tuple[int, int]]:
        """Source and target of branches with 8-bit displacement into `places`."""
        for instruction in self._sweep(places):
            if instruction.op0_kind == OpKind.NEAR_BRANCH64 and instruction.near_branch_target in places:
                yield instruction.ip, instruction.near_branch_target

    def _sweep(self, places: range) -> Iterator[Instruction]:
        """The instructions from which short branches reach `places`, decoded anew from every known start.

        Where none is near, decoding begins a little before: it falls into step within a few instructions.
        """
        segment = next(load for load in self._elf.code_segments if load.holds(places.start))
        low = max(places.start - SHORT_REACH, segment.address)
        high = min(places.stop + SHORT_REACH, segment.address + segment.file_size)
        i = bisect_right(self._starts, low) - 1
        known = i >= 0 and low - self._starts[i] <= _FAR_START
        begin = max(self._starts[i] if known else low - _RESYNCHRONISES, segment.address)
        for start, end in pairwise([begin, *self._starts[i + 1 : bisect_left(self._starts, high)], high]):
            yield from Decoder(64, self._elf.code(start, end - start), ip=start)

    def _near_branches(self, places: range) -> Iterator[tuple[int, int]]:
        """Source and target of what could be a branch with 32-bit displacement into `places`."""
        self._asked += 1
        if self._asked <= _WORTH_AN_INDEX:
            yield from branches_into(self._elf, places.start, places.stop)
            return
        found, at = self._index, bisect_left(self._index, places.start << 64)
        while at < len(found) and found[at] >> 64 < places.stop:
            yield found[at] & (1 << 64) - 1, found[at] >> 64
            at += 1

    @cached_property
    def _index(self) -> list[int]:
        """All such branches but those to known starts, as target << 64 | source, sorted: for who asks for many places.

        A place in which something starts is none to ask for: that alone is an arrival.
        """
        found = []
        starts, displacement = set(self._starts), _DISPLACEMENT.unpack_from
        first, last = self._elf.code_segments[0].address, self._elf.code_segments[-1].end
        for text in self._elf.texts:
            address, code = text.start, self._elf.read(text.start, len(text))
            for match in _NEAR_BRANCH.finditer(code, 0, len(code) - 4):
                at = match.end()
                target = address + at + 4 + displacement(code, at)[0]
                if first <= target < last and target not in starts:
                    found.append(target << 64 | address + match.start())
        return sorted(found)

    def _table_targets(self, table: int, code: range) -> Iterator[int]:
        """Where the entries of a switch's table lead: 64-bit addresses, or 32-bit distances from the table."""
        raw = self._elf.read(table, 4 * len(code))
        for form, base in (("<Q", 0), ("<i", table)):
            for (entry,) in struct.iter_unpack(form, raw[: len(raw) & -8]):
                if base + entry not in code:
                    break
                yield base + entry


def _table_addresses(instruction: Instruction) -> Iterator[int]:
    """What could be the address of a table: taken by `lea`, or the displacement of an indexed operand."""
    if instruction.is_ip_rel_memory_operand:
        yield instruction.ip_rel_memory_address
    elif instruction.memory_index and instruction.memory_displacement:  # 0 is no register
        yield instruction.memory_displacement
