"""Which frames of a running thread return: breakpoints at their return addresses, for a short while.

Only for a program that is about to be killed: the breakpoints are bytes in its (private) code.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from stemrw.sense import process, ptrace
from stemrw.sense.monitor import Monitor
from stemrw.sense.unwind import RawFrame

_BREAKPOINT = b"\xcc"
_WATCHED_CPU, _WATCHED = 0.3, 3.0
"""Seconds: CPU time that the thread gets to return, and the longest wait for it."""
_MAX_FRAMES = 64


def frames_that_return(monitor: Monitor, tid: int, frames: Sequence[RawFrame]) -> int:
    """How many of these frames, from the innermost, are left by the thread while it is watched.

    The outermost frame is never counted.  A frame is recognised by return address and stack pointer; where a recursive
    function's frames share a return address, only the innermost one is watched.
    """
    watch = _Watch(tid)
    for depth, caller in enumerate(frames[1 : _MAX_FRAMES + 1]):
        if caller.return_address:
            watch.expected.setdefault(caller.pc, (depth, caller.stack))
    if not watch.expected or not monitor.stop(tid):
        return 0
    armed = watch.arm()
    monitor.on_trap = watch.hit
    monitor.resume(tid)
    if armed:
        _let_run(monitor, watch, len(frames) - 1)
    if monitor.stop(tid):
        watch.disarm()
        monitor.resume(tid)
    monitor.on_trap = None
    return watch.returned


def _let_run(monitor: Monitor, watch: _Watch, limit: int) -> None:
    pid = watch.pid
    before = process.times(pid, watch.tid)
    deadline = time.monotonic() + _WATCHED
    while before is not None and watch.returned < limit and time.monotonic() < deadline:
        monitor.wait(0.02)
        now = process.times(pid, watch.tid)
        if now is None or now.cpu - before.cpu >= _WATCHED_CPU:
            return


@dataclass
class _Watch:
    """Breakpoints, and what met them."""

    tid: int
    expected: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By return address: depth of the frame that returns there, and the stack pointer then."""
    returned: int = 0
    _original: dict[int, bytes] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        state = process.status(self.tid)
        return state.tgid if state else self.tid

    def arm(self) -> bool:
        """Write the breakpoints; False: the kernel does not let us."""
        try:
            with open(f"/proc/{self.tid}/mem", "r+b", buffering=0) as memory:
                for address in self.expected:
                    memory.seek(address)
                    self._original[address] = memory.read(1)
                    memory.seek(address)
                    memory.write(_BREAKPOINT)
        except OSError:
            self.disarm()
            return False
        return True

    def disarm(self) -> None:
        for address in self._original:
            self._restore(self.tid, address)

    def hit(self, tid: int) -> bool:
        """A thread (of the process, or of a child that inherited the breakpoints) met a breakpoint."""
        registers = ptrace.registers(tid)
        address = registers["rip"] - 1
        if address not in self._original:
            return False
        self._restore(tid, address)
        ptrace.set_registers(tid, {**registers, "rip": address})
        depth, stack = self.expected[address]
        if tid == self.tid and registers["rsp"] == stack:
            self.returned = max(self.returned, depth + 1)
        return True

    def _restore(self, tid: int, address: int) -> None:
        try:
            with open(f"/proc/{tid}/mem", "r+b", buffering=0) as memory:
                memory.seek(address)
                memory.write(self._original[address])
        except OSError:
            return  # it is gone
