"""Which bytes of a function's entry are replaced by the jump to its gate, and whether that is safe.

    function: endbr64                  kept: indirect calls land here
    address:  push rbp                 ┐
              mov  rbp, rsp            │ whole instructions, at least the 5 bytes of `jmp gate`
              sub  rsp, 32             ┘
              …                        the displaced copies end with a jump to here

Filler behind a short function counts as room. Where 5 bytes cannot be had, 2 may do: a short jump to a *stone*, the
5 bytes of `jmp gate` in padding between two functions near by.

    address:  xor  eax, eax            ──▶ jmp stone
              ret
    next:     …
              ret
    stone:    nop [rax+rax]            ──▶ jmp gate

Safe means that nothing but the entry itself leads into the replaced bytes (`Surroundings`): whatever did would land in
the middle of our jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from iced_x86 import Decoder, Instruction

from stemrw.elf import Elf
from stemrw.errors import BinaryError
from stemrw.rewrite._displace import displace, jump
from stemrw.rewrite._surroundings import NEVER_CONTINUE, SHORT_REACH, Surroundings, is_padding

JUMP_SIZE, SHORT_JUMP_SIZE = 5, 2
"""Bytes of `jmp rel32` and of `jmp rel8`."""
ENDBR64 = b"\xf3\x0f\x1e\xfa"
_MOST_READ = 64


@dataclass(frozen=True)
class Target:
    """A function to patch: entry address, size in bytes (0: unknown) and a name for people, where there is one."""

    address: int
    size: int
    name: str | None = None

    def __str__(self) -> str:
        return f"the function {self.name}" if self.name else f"the function at {self.address:#x}"


@dataclass(frozen=True)
class Stone:
    """Padding that is to hold the jump to the gate: its address, and what stood there."""

    address: int
    original: bytes


@dataclass(frozen=True)
class Entry:
    """Replaced bytes: the instructions that begin in them (filler left out), and what they were.

    `function` and `size` (bytes; 0: unknown) are the function's; `address` differs from `function` by an endbr64.
    With a stone, the jump at the entry is a short one, to the stone.
    """

    function: int
    size: int
    address: int
    instructions: tuple[Instruction, ...]
    original: bytes
    stone: Stone | None = None

    @property
    def end(self) -> int:
        """First address behind the replaced bytes."""
        return self.address + len(self.original)

    @property
    def inside(self) -> range:
        """Addresses at which nothing may arrive any more."""
        return range(self.address + 1, self.end)

    def edits(self, gate: int) -> list[tuple[int, bytes]]:
        """What is written: addresses and bytes that lead to the gate."""
        if self.stone is None:
            return [(self.address, jump(self.address, gate).ljust(len(self.original), b"\xcc"))]
        distance = self.stone.address - (self.address + SHORT_JUMP_SIZE)
        short = b"\xeb" + distance.to_bytes(1, "little", signed=True)
        return [
            (self.address, short.ljust(len(self.original), b"\xcc")),
            (self.stone.address, jump(self.stone.address, gate)),
        ]


class _Obstacle(Exception):
    """Why bytes cannot be replaced, as a clause."""


def find_entries(elf: Elf, targets: Sequence[Target], around: Surroundings | None = None) -> list[Entry]:
    """The replaceable bytes at the entry of each function, in the order of `targets`; no two of them overlap.

    `around` spares looking at the whole file again where one asks several times.  Raises BinaryError for a function
    whose entry cannot be led anywhere: no code there, too short, undecodable, or entered at other places too.
    """
    around = around or Surroundings(elf, [target.address for target in targets])
    entries: list[Entry] = []
    why: dict[int, str] = {}
    for target in targets:
        try:
            entries.append(_entry(elf, around, target, JUMP_SIZE))
        except _Obstacle as obstacle:
            why[len(entries)] = str(obstacle)
            try:
                entries.append(_entry(elf, around, target, SHORT_JUMP_SIZE))
            except _Obstacle as second:
                raise _refusal(target, str(obstacle), str(second)) from None
    taken = [range(entry.address, entry.end) for entry in entries]
    for i, direct in why.items():
        stone = _stone(elf, around, entries[i], taken)
        if stone is None:
            raise _refusal(targets[i], direct, "there is no padding near by that could hold the rest of the way")
        taken.append(range(stone.address, stone.address + JUMP_SIZE))
        entries[i] = replace(entries[i], stone=stone)
    return entries


def _entry(elf: Elf, around: Surroundings, target: Target, room: int) -> Entry:
    """At least `room` bytes that can be replaced.  Raises _Obstacle."""
    entry = _take(elf, target, room)
    try:
        displace(entry.instructions, entry.original, entry.end)
    except BinaryError as error:
        raise _Obstacle(f"{error.message}, at {error.address:#x}") from None
    whole = len(entry.instructions) == 1 and entry.instructions[0].len == len(entry.original)
    own = frozenset(instruction.ip for instruction in entry.instructions)
    arrival = around.arrival(entry.inside, own, near=not whole)  # into one instruction: only by chance
    if arrival is None and not whole:
        arrival = around.switch_arrival(target.address, target.size, entry.inside)
    if arrival is not None:
        raise _Obstacle(f"{arrival}, between the bytes that it would replace")
    return entry


def _take(elf: Elf, target: Target, room: int) -> Entry:
    """Whole instructions from the entry on, of at least `room` bytes.  Raises _Obstacle."""
    code = elf.code(target.address, _MOST_READ)
    if not code:
        raise _Obstacle("there is no code at this address")
    skip = len(ENDBR64) if code.startswith(ENDBR64) else 0
    first = target.address + skip
    taken: list[Instruction] = []
    length, ended = 0, False
    for instruction in Decoder(64, code[skip:], ip=first):
        if length >= room:
            break
        ended = ended or (target.size > 0 and instruction.ip >= target.address + target.size)
        if instruction.is_invalid:
            raise _Obstacle(f"the instruction at {instruction.ip:#x} cannot be decoded")
        if ended and not (is_padding(instruction) and instruction.ip <= target.address | 15):
            size = f"{length} byte{'s' if length != 1 else ''}{' behind its endbr64' if skip else ''}"
            raise _Obstacle(f"it has only {size}, and no room follows")
        if not ended:
            taken.append(instruction)
        length += instruction.len
        ended = ended or instruction.flow_control in NEVER_CONTINUE
    if length < room:
        raise _Obstacle("it is cut off by the end of its segment")
    if not taken:
        raise _Obstacle("it has no instruction but endbr64")
    return Entry(target.address, target.size, first, tuple(taken), code[skip : skip + length])


def _stone(elf: Elf, around: Surroundings, entry: Entry, taken: Sequence[range]) -> Stone | None:
    """The nearest padding within a short jump's reach that holds a near one and is not taken."""
    behind = entry.address + SHORT_JUMP_SIZE
    reach = range(behind - SHORT_REACH, behind + SHORT_REACH)
    found = [
        address
        for padding in around.padding(reach.start, reach.stop + JUMP_SIZE)
        for address in range(padding.start, padding.stop - JUMP_SIZE + 1)
        if address in reach and not any(address < r.stop and r.start < address + JUMP_SIZE for r in taken)
    ]
    if not found:
        return None
    nearest = min(found, key=lambda address: (abs(address - behind), address))
    return Stone(nearest, elf.code(nearest, JUMP_SIZE))


def _refusal(target: Target, obstacle: str, second: str) -> BinaryError:
    also = f"; nor does a short jump: {second}" if second != obstacle else ""
    return BinaryError(
        f"no jump to the runtime fits in at the entry of {target}: {obstacle}{also}",
        address=target.address,
        hint="choose a caller of this function with --region or --frame",
    )
