"""From a snapshot to a fault report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import stemrw
from stemrw.documents.fault_report import FaultReport, Frame, Hang, Instruction, Location, ModuleInfo, Truncation
from stemrw.sense.address_space import AddressSpace
from stemrw.sense.classify import classify
from stemrw.sense.module import Module
from stemrw.sense.ptrace import REGISTERS
from stemrw.sense.snapshot import Fault, Snapshot
from stemrw.sense.unwind import Backtrace, RawFrame, Unwinder
from stemrw.text import unicode

INNERMOST_FRAMES = 64
OUTERMOST_FRAMES = 32


class Reporter:
    """Makes a report of one snapshot.  `close` when done."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.space = AddressSpace(snapshot)
        self.unwinder = Unwinder(snapshot, self.space)

    def close(self) -> None:
        self.unwinder.close()

    def crash(self) -> FaultReport:
        """The report of the fault that the process dies of."""
        fault, trace = self._origin()
        found = classify(fault, self.snapshot, self.space)
        instruction = found.instruction
        sender = fault.sender
        return FaultReport(
            fault_class=found.fault_class,
            signal=fault.name,
            si_code=fault.code,
            sent_by=sender if sender != self.snapshot.own_pid else None,
            fault_address=found.address,
            access=found.access,
            instruction=Instruction(code=instruction.code.hex(), text=instruction.text) if instruction else None,
            **self._surroundings(fault, trace),
        )

    def hang(self, trace: Backtrace, hang: Hang) -> FaultReport:
        """The report of a program that does not end; `trace` begins where it spins."""
        return FaultReport(fault_class="hang", hang=hang, **self._surroundings(self.snapshot.fault, trace))

    def _surroundings(self, fault: Fault, trace: Backtrace) -> dict[str, Any]:
        """The fields that do not depend on the kind of fault."""
        kept, truncation = _cut(trace.frames)
        frames = tuple(self._frame(frame) for frame in kept)
        return {
            "program": self._program(),
            "modules": self._modules(frame.module for frame in frames),
            "registers": {name: fault.registers[name] for name in REGISTERS},
            "pc": Location(**frames[0].model_dump(include=set(Location.model_fields))),
            "backtrace": frames,
            "backtrace_truncated": truncation,
            "backtrace_note": _text(trace.note),
            "command": tuple(_text(part) or "" for part in self.snapshot.command),
            "cwd": _text(self.snapshot.cwd),
            "stdin": _text(self.snapshot.stdin),
            "exe": _text(self.snapshot.exe),
            "pid": self.snapshot.pid,
            "tid": self.snapshot.tid,
            "sensor": f"stemrw {stemrw.__version__}",
        }

    def _origin(self) -> tuple[Fault, Backtrace]:
        """The fault that counts: where a handler of the program's own took a fault and then killed the process, the
        fault that the handler took."""
        last = self.snapshot.fault
        trace = self.unwinder.backtrace(last.registers)
        for earlier in self.snapshot.earlier:
            if self._led_to(earlier, last, trace):
                return earlier, self.unwinder.backtrace(earlier.registers)
        return last, trace

    def _led_to(self, earlier: Fault, last: Fault, trace: Backtrace) -> bool:
        """Whether the handler of an earlier fault was still at work when the last one came: its interrupted frame is in
        the backtrace.  Where the backtrace ends early: the same signal, further down the stack or on another one."""
        pc, stack = earlier.registers["rip"], earlier.registers["rsp"]
        if any(frame.pc == pc and frame.stack == stack and not frame.return_address for frame in trace.frames):
            return True
        if trace.note is None or earlier.signal != last.signal:
            return False
        now = last.registers["rsp"]
        return now < stack or self.space.mapping(now) != self.space.mapping(stack)

    def _frame(self, frame: RawFrame) -> Frame:
        place = self.space.place(frame.pc)
        if place is None:
            return Frame(address=frame.pc, return_address=frame.return_address, certain=frame.certain)
        return Frame(
            module=_text(place.module.path),
            address=place.address,
            symbol=_text(self.unwinder.symbol(frame.inside)),
            function=place.module.function(place.address - frame.return_address),
            return_address=frame.return_address,
            certain=frame.certain,
        )

    def _program(self) -> ModuleInfo:
        path = self.snapshot.exe or "?"
        module = next((module for module in self.space.modules.values() if module.path == path), None)
        return _identity(module) if module else ModuleInfo(path=_text(path) or "?")

    def _modules(self, paths: Iterable[str | None]) -> tuple[ModuleInfo, ...]:
        known = {_text(module.path): module for module in self.space.modules.values()}
        return tuple(_identity(known[path]) for path in dict.fromkeys(paths) if path in known)


def _cut(frames: list[RawFrame]) -> tuple[list[RawFrame], Truncation | None]:
    """The two ends of a deep backtrace."""
    if len(frames) <= INNERMOST_FRAMES + OUTERMOST_FRAMES:
        return frames, None
    kept = frames[:INNERMOST_FRAMES] + frames[-OUTERMOST_FRAMES:]
    return kept, Truncation(innermost=INNERMOST_FRAMES, total=len(frames))


def _identity(module: Module) -> ModuleInfo:
    return ModuleInfo(path=_text(module.path) or "?", build_id=module.build_id, sha256=module.sha256)


def _text(text: str | None) -> str | None:
    return unicode(text) if text is not None else None
