"""One experiment: enter a region, stop somewhere in it, make the next instruction fault, and compare what is there
after the rescue with what was there at the entry.

    gate ── snapshot ── region runs … stop ── ud2 ── SIGILL → handler → rescue → undo ── return address ── snapshot
"""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass, field

import memory_image as memory
import trace_requests as ptrace
from memory_image import Ranges, Snapshot
from tracee import Ended, Tracee

from stemrw.runtime import load_image

_UD2, _SYSCALL = b"\x0f\x0b", b"\x0f\x05"
_GATE_FRAME = 136
"""Bytes between rsp at the gate and where the return address lies (abi.h)."""
_KEPT = ("rbx", "rbp", "r12", "r13", "r14", "r15", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "fs_base")
_WORD = (1 << 64) - 1
_UC_STACK = 16
"""Offset of uc_stack in struct ucontext: address, flags, size."""


class Over(Exception):
    """There is no region any more at the point wanted: it was left, or committed."""


@dataclass(frozen=True)
class Point:
    """Where to fault: behind system call `call` of the region (0: before the first), then `services` requests of the
    translated code to the runtime later, then `steps` instructions of the cache later."""

    call: int
    services: int = 0
    steps: int = 0


@dataclass(frozen=True)
class Entry:
    """What there was when a region was entered from native code."""

    registers: dict[str, int]
    floating_point: tuple[int, int]
    stack: int
    """Where the return address lies."""
    return_address: int
    return_value: int
    memory: Snapshot
    files: dict[int, int]
    mask: int
    rseq: tuple[int, int]
    """struct rseq of the thread: the kernel writes it whenever the thread changes its processor."""


@dataclass
class Comparison:
    """How memory and registers after a rollback differ from those at the entry."""

    compared: int = 0
    """Bytes of the writable mappings, without pages that were never touched and without the runtime's own."""
    changed: int = 0
    """How many of them were different when the fault was made, dead stack aside."""
    wrong: list[tuple[int, int, int]] = field(default_factory=list)
    """Address, value at the entry and after the rollback of each byte that nothing excuses."""
    where: Counter[str] = field(default_factory=Counter)
    """Wrong bytes by mapping."""
    excluded: Counter[str] = field(default_factory=Counter)
    """Different bytes that are not promised, by reason."""
    others: list[str] = field(default_factory=list)
    """Whatever else is not as at the entry: mappings, registers, file offsets, signal mask."""
    let_through: list[str] = field(default_factory=list)
    """Descriptors that the region has closed or made in ways that are counted as irreversible."""

    @property
    def right(self) -> bool:
        """Nothing is wrong."""
        return not self.wrong and not self.others


# ---- getting there ----


def run_to_entry(tracee: Tracee) -> Entry:
    """Go on until a region is entered from native code.  Raises Ended if none is."""
    constants = load_image().constants
    while True:
        tracee.run_to(tracee.symbol("gate_region"))
        registers = tracee.registers()
        patch = tracee.struct("patch", registers["r11"])
        if patch["kind"] == constants["PATCH_REGION"]:
            break
    stack = registers["rsp"] + _GATE_FRAME
    registers["r11"] = tracee.word(registers["rsp"])
    return Entry(
        registers,
        ptrace.floating_point(tracee.pid),
        stack,
        tracee.word(stack),
        0 if patch["return_kind"] == constants["RETURN_VOID"] else patch["return_value"],
        tracee.snapshot(),
        tracee.file_offsets(),
        tracee.blocked_signals(),
        ptrace.rseq_area(tracee.pid),
    )


def count_calls(tracee: Tracee) -> int:
    """Run the program to its end: how many system calls it makes in regions."""
    count = 0
    try:
        while True:
            tracee.run_to(tracee.symbol("before_syscall"))
            count += 1
    except Ended:
        return count


def run_to_point(tracee: Tracee, point: Point) -> None:
    """From a region's entry to the point.  Raises Over, Ended."""
    for _ in range(point.call):
        tracee.run_to(tracee.symbol("before_syscall"))
    _to_cache(tracee)
    for _ in range(point.services):
        tracee.run_to(tracee.symbol("run_service"))
        _to_cache(tracee)
    for _ in range(point.steps):
        _settle(tracee, tracee.step())


def _to_cache(tracee: Tracee) -> None:
    """Out of the runtime's C, back to translated code."""
    tracee.run_to(tracee.resume_jump())
    _settle(tracee, tracee.step())


def _settle(tracee: Tracee, pc: int) -> None:
    """To where an instruction of the program may fault: not in C, and not between a system call and the runtime's look
    at its result."""
    if tracee.is_runtime(pc):
        _to_cache(tracee)
        return
    if not tracee.in_region():
        raise Over
    if tracee.read(pc, len(_SYSCALL)) == _SYSCALL:
        for _ in ("the call", "rcx as the program expects it", "jump"):
            pc = tracee.step()
        _settle(tracee, pc)


# ---- fault, and what is left of the region ----


def fault(tracee: Tracee, entry: Entry) -> Comparison:
    """Make the next instruction, which lies in the cache, fault, and compare once control is back at the caller."""
    pc = tracee.registers()["rip"]
    before_fault = tracee.snapshot()
    original = tracee.read(pc, len(_UD2))
    tracee.write(pc, _UD2)
    tracee.run_to_signal(signal.SIGILL, pc)
    tracee.write(pc, original)
    tracee.run_to(tracee.symbol("on_signal"), deliver=signal.SIGILL)
    context = tracee.registers()["rdx"]
    start, size = tracee.word(context + _UC_STACK), tracee.word(context + _UC_STACK + 16)
    while True:
        tracee.run_to(entry.return_address)
        if tracee.registers()["rsp"] == entry.stack + 8:
            return _compare(tracee, entry, before_fault, (start, start + size))


def _compare(tracee: Tracee, entry: Entry, before_fault: Snapshot, signal_stack: tuple[int, int]) -> Comparison:
    after, found = tracee.snapshot(), Comparison()
    below = _stack_below(entry, after)
    excuses = {
        "dead stack": below,
        "rseq area": Ranges([entry.rseq]),
        "signal frame": Ranges([signal_stack]),
    }
    found.compared = memory.PAGE * len(after.pages.keys() | entry.memory.pages.keys())
    found.changed = memory.count_differences(entry.memory, before_fault, below)
    for address, old, new in memory.differences(entry.memory, after):
        reason = next((name for name, ranges in excuses.items() if address in ranges), None)
        if reason:
            found.excluded[reason] += 1
        else:
            found.wrong.append((address, old, new))
            found.where[entry.memory.named(address)] += 1
    found.others += _mappings(entry.memory, after, below) + _registers(tracee, entry)
    _compare_kernel_side(tracee, entry, found)
    return found


def _stack_below(entry: Entry, after: Snapshot) -> Ranges:
    """Of the mapping that holds the stack, as it was and as it may have grown."""
    starts = [
        mapping.start
        for snapshot in (entry.memory, after)
        for mapping in snapshot.mappings
        if mapping.start <= entry.stack < mapping.end
    ]
    return Ranges([(min(starts), entry.stack)])


def _mappings(before: Snapshot, after: Snapshot, dead: Ranges) -> list[str]:
    """Memory that is mapped now and was not, or the other way round, or with other rights."""

    def by_rights(snapshot: Snapshot) -> dict[str, Ranges]:
        known: dict[str, Ranges] = {}
        for mapping in snapshot.mappings:
            known.setdefault(mapping.rights, Ranges()).append(mapping.start, mapping.end)
        return {rights: ranges.without(snapshot.own).without(dead) for rights, ranges in known.items()}

    old, new = by_rights(before), by_rights(after)
    found = []
    for rights in sorted(old.keys() | new.keys()):
        had, has = old.get(rights, Ranges()), new.get(rights, Ranges())
        found += [f"{a:x}-{b:x} {rights} {before.named(a)} is no longer so" for a, b in had.without(has)]
        found += [f"{a:x}-{b:x} {rights} {after.named(a)} is new" for a, b in has.without(had)]
    return found


def _registers(tracee: Tracee, entry: Entry) -> list[str]:
    now, found = tracee.registers(), []
    expected = {name: entry.registers[name] for name in _KEPT}
    expected |= {"rip": entry.return_address, "rsp": entry.stack + 8, "rax": entry.return_value & _WORD}
    for name, value in expected.items():
        if now[name] != value:
            found.append(f"{name} is {now[name]:#x}, not {value:#x}")
    if now["rdx"] not in (entry.registers["rdx"], 0):
        found.append(f"rdx is {now['rdx']:#x}, neither {entry.registers['rdx']:#x} nor 0")
    if (control := ptrace.floating_point(tracee.pid)) != entry.floating_point:
        found.append(f"x87 control and MXCSR are {control}, were {entry.floating_point}")
    return found


def _compare_kernel_side(tracee: Tracee, entry: Entry, found: Comparison) -> None:
    now = tracee.file_offsets()
    found.let_through += [f"descriptor {fd} is open" for fd in sorted(now.keys() - entry.files.keys())]
    found.let_through += [f"descriptor {fd} is closed" for fd in sorted(entry.files.keys() - now.keys())]
    for fd in sorted(now.keys() & entry.files.keys()):
        if now[fd] != entry.files[fd]:
            found.others.append(f"descriptor {fd} is at {now[fd]}, was at {entry.files[fd]}")
    if (mask := tracee.blocked_signals()) != entry.mask:
        found.others.append(f"signal mask is {mask:x}, was {entry.mask:x}")
