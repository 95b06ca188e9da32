"""Backtraces: by call frame information (drgn), and what can be said where that ends.

drgn unwinds a core file of the copied stack.  It is used for what CFI proves only: where code has none it would go on
by frame pointers, so the frames behind such code are dropped.  What follows is a guess and marked as one: words on the
stack that point right behind a call instruction, each followed by CFI as far as that holds.  A function that returned
to where no code is has left the stack, but not without a trace: the return address of its last call is still below, and
by the CFI at that place its frame ended right where the stack pointer is now.

drgn ends a trace after 1,024 frames.  A deeper one is continued from the registers of its last frame: the core file is
a memory file whose register note is rewritten in place (98,000 frames in 0.3 s).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from collections.abc import Mapping as Registers
from itertools import islice
from typing import NamedTuple

import drgn

from stemrw.sense.address_space import AddressSpace
from stemrw.sense.code import follows_call, prologue_depth
from stemrw.sense.core import write_core
from stemrw.sense.ptrace import REGISTERS
from stemrw.sense.snapshot import BELOW_STACK, Snapshot

MAX_FRAMES = 1_000_000
MAX_GUESSES = 32
_SCANNED_BYTES = 64 << 10
_DRGN_FRAMES = 1024
MAX_LEFT = 4
PROLOGUE_BYTES = 64
WORD = 8


class RawFrame(NamedTuple):
    """A frame in the process's own addresses.  `stack` is the stack pointer in it."""

    pc: int
    stack: int
    return_address: bool
    certain: bool

    @property
    def inside(self) -> int:
        """An address inside the instruction that is being executed."""
        return self.pc - self.return_address


class Backtrace(NamedTuple):
    """`note` says why it does not reach the outermost function; None: it does."""

    frames: list[RawFrame]
    note: str | None


class Unwinder:
    """Unwinds a snapshot's stacks from given registers."""

    def __init__(self, snapshot: Snapshot, space: AddressSpace) -> None:
        self._snapshot, self._space = snapshot, space
        self._functions: dict[int, bool] = {}
        self._unusable: set[str] = set()
        """Modules that drgn could not read: what it makes of their frames is no CFI."""
        core = write_core(
            snapshot.tid,
            snapshot.fault.signal,
            snapshot.fault.siginfo,
            snapshot.fault.registers,
            snapshot.memory,
            snapshot.auxv,
            snapshot.mappings,
        )
        self._core = os.memfd_create("stemrw-core")
        self._note = core.index(_packed(snapshot.fault.registers))
        with os.fdopen(os.dup(self._core), "wb") as file:
            file.write(core)
        self._program = self._open_core()

    def close(self) -> None:
        os.close(self._core)

    def backtrace(self, registers: Registers[str, int]) -> Backtrace:
        """All frames, innermost first."""
        frames, note = self._certain(registers)
        if note is not None and len(frames) < MAX_FRAMES:
            left = self._left(registers) if len(frames) == 1 else []
            frames += [*left, *self._guesses(frames[-1], registers)]
        return Backtrace(frames, note)

    def symbol(self, address: int) -> str | None:
        """Name of the symbol that covers an address of the process."""
        try:
            symbol = self._program.symbol(address)
        except LookupError:
            return None
        return symbol.name if symbol.address <= address < symbol.address + symbol.size else None

    def _certain(self, registers: Registers[str, int]) -> Backtrace:
        """What CFI proves."""
        frames: list[RawFrame] = []
        try:
            for frame in self._unwind(registers):
                problem = self._obstacle(frames[-1], frame) if frames else None
                if problem is not None:
                    return Backtrace(frames, problem)
                if frame is None:
                    return Backtrace(frames, None)
                frames.append(frame)
                if len(frames) >= MAX_FRAMES:
                    return Backtrace(frames, f"deeper than {MAX_FRAMES} frames")
        except Exception as error:  # drgn raises that itself, for whatever it cannot parse
            first = RawFrame(registers["rip"], registers["rsp"], False, True)
            return Backtrace(frames or [first], f"the unwinder failed: {error}")
        return Backtrace(frames, self._obstacle(frames[-1], None) or "the stack could not be read further")

    def _obstacle(self, frame: RawFrame, caller: RawFrame | None) -> str | None:
        """Why the step from a frame to its caller proves nothing; None: it does."""
        if not self._has_cfi(frame.inside):
            return f"{self._describe(frame.pc)} has no unwind information"
        if caller is not None and not self._space.is_code(caller.pc):
            return f"the return address {caller.pc:#x} points to no code: the stack is overwritten"
        return None

    def _describe(self, address: int) -> str:
        place = self._space.place(address)
        if place is None:
            return f"{address:#x}, in no module,"
        return f"code at {place.address:#x} of {place.module.path}"

    def _has_cfi(self, address: int) -> bool:
        known = self._functions.get(address)
        if known is None:
            place = self._space.place(address)
            known = (
                place is not None
                and place.module.can_unwind
                and place.module.path not in self._unusable
                and place.module.function(place.address) is not None
            )
            self._functions[address] = known
        return known

    def _unwind(self, registers: Registers[str, int], depth_one: bool = False) -> Iterator[RawFrame | None]:
        """drgn's frames; None behind the outermost one, if CFI says that it is."""
        current = dict(registers)
        return_address = depth_one
        while True:
            trace = self._trace(current)
            for index in range(len(trace)):
                frame = trace[index]
                if frame.is_inline:
                    continue
                try:
                    pc, stack = frame.pc, frame.sp
                except LookupError:
                    yield None
                    return
                if index == 0:
                    yield RawFrame(pc + return_address, stack, return_address, True)
                elif index < _DRGN_FRAMES - 1:
                    yield RawFrame(pc, stack, not frame.interrupted, True)
            if len(trace) < _DRGN_FRAMES:
                return
            # The last frame becomes the first of the next trace.  Unlike a first frame, a caller is looked up by the
            # address before its return address: start there.
            last = trace[len(trace) - 1]
            try:
                return_address = not last.interrupted
                current = {name: last.registers().get(name, 0) for name in REGISTERS}
                current["rip"] = last.pc - return_address
            except LookupError:
                yield None
                return

    def _trace(self, registers: Registers[str, int]) -> drgn.StackTrace:
        os.pwrite(self._core, _packed(registers), self._note)
        self._program = self._open_core()
        return self._program.thread(self._snapshot.tid).stack_trace()

    def _open_core(self) -> drgn.Program:
        program = drgn.Program()
        program.set_enabled_debug_info_finders([])  # the mapped files and nothing else
        program.set_core_dump(os.dup(self._core))
        for path, bias in self._space.biases.items():
            module = self._space.modules[path]
            low, high = module.extent
            extra = program.extra_module(path, bias, create=True)
            extra.address_range = (low + bias, high + bias)
            try:
                extra.try_file(path, fd=os.dup(module.descriptor), force=True)
            except Exception:  # see _certain
                self._unusable.add(module.path)
                continue
            if extra.loaded_file_bias != bias:  # None: it is not used
                self._unusable.add(module.path)
        return program

    def _left(self, registers: Registers[str, int]) -> list[RawFrame]:
        """What may have just returned to where no code is, each behind its last call, likelier ones first.

        Others that had been called from the same place may have left the same trace: the program's own come first.
        """
        top = registers["rsp"]
        above = self._snapshot.memory.word(top)
        if self._space.is_code(registers["rip"]) or (above is not None and self._is_return_address(above)):
            return []  # it was called, not returned to
        found: list[RawFrame] = []
        for slot in range((top & ~7) - 2 * WORD, top - BELOW_STACK, -WORD):
            pc = self._snapshot.memory.word(slot)
            if pc is None:
                break
            if self._is_return_address(pc) and self._has_cfi(pc - 1) and self._ended(pc, slot + WORD, registers):
                found.append(RawFrame(pc, slot + WORD, return_address=True, certain=False))
        return sorted(found, key=lambda frame: not self._is_own(frame.pc))[:MAX_LEFT]

    def _is_own(self, address: int) -> bool:
        place = self._space.place(address)
        return place is not None and place.module.path == self._snapshot.exe

    def _ended(self, pc: int, stack: int, registers: Registers[str, int]) -> bool:
        """Whether a frame that had called up to `pc`, with its stack pointer there, ended where it is now.

        Where unwind information counts from rbp, which was restored from the same frame, its first instructions tell.
        """
        top = registers["rsp"]

        def end(rbp: int) -> int | None:
            at = {**registers, "rip": pc - 1, "rsp": stack, "rbp": rbp}
            outer = next(islice(self._unwind(at, depth_one=True), 1, None), None)
            return outer.stack if outer is not None else None

        place = self._space.place(pc)
        start = place.module.function(place.address - 1) if place is not None else None
        if place is None or start is None or end(top - 2 * WORD) != top:
            return False
        return end(0) == top or stack + WORD + prologue_depth(place.module.read(start, PROLOGUE_BYTES)) == top

    def _guesses(self, last: RawFrame, registers: Registers[str, int]) -> list[RawFrame]:
        """Return addresses that the stack seems to hold above the last certain frame."""
        guesses: list[RawFrame] = []
        slot, end = last.stack & ~7, last.stack + _SCANNED_BYTES
        while slot < end and len(guesses) < MAX_GUESSES:
            pc = self._snapshot.memory.word(slot)
            slot += 8
            if pc is None:
                break
            if not self._is_return_address(pc):
                continue
            chain = self._chain(pc, slot, registers)[: MAX_GUESSES - len(guesses)]
            guesses += chain
            slot = max(slot, chain[-1].stack)
        return guesses

    def _chain(self, pc: int, stack: int, registers: Registers[str, int]) -> list[RawFrame]:
        """A guessed frame and its callers, as long as CFI leads from one return address to the next."""
        frames: list[RawFrame] = []
        for frame in self._unwind({**registers, "rip": pc - 1, "rsp": stack}, depth_one=True):
            if frame is None or len(frames) >= MAX_GUESSES:
                break
            if frames and not (self._has_cfi(frames[-1].inside) and self._is_return_address(frame.pc)):
                break
            frames.append(frame._replace(certain=False))
        return frames

    def _is_return_address(self, address: int) -> bool:
        place = self._space.place(address)
        return place is not None and follows_call(place.module.read(place.address - 8, 8))


def _packed(registers: Registers[str, int]) -> bytes:
    return struct.pack(f"<{len(REGISTERS)}Q", *(registers[name] & (1 << 64) - 1 for name in REGISTERS))
