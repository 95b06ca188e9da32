"""The loop that follows a command and all its threads and children, and notices which of them dies of a fault.

A fatal signal is seen twice: when it is about to be delivered (the thread still stands at the fault: that is when the
snapshot is taken) and when the process is gone by it (only then it counts).  In between, a handler of the program's own
may take the signal; such faults are remembered, as a handler that gives up kills the process by a second signal.
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stemrw.sense import launch, process, ptrace, snapshot
from stemrw.sense.snapshot import Fault, Snapshot

FATAL = frozenset(
    (signals.SIGSEGV, signals.SIGBUS, signals.SIGFPE, signals.SIGILL, signals.SIGTRAP, signals.SIGABRT, signals.SIGSYS)
)
_STOPPING = frozenset((signals.SIGSTOP, signals.SIGTSTP, signals.SIGTTIN, signals.SIGTTOU))
_FORWARDED = frozenset(
    (
        signals.SIGHUP,
        signals.SIGINT,
        signals.SIGQUIT,
        signals.SIGTERM,
        signals.SIGUSR1,
        signals.SIGUSR2,
        signals.SIGALRM,
    )
)
_WALL = 0x40000000
_ROUNDS, _PATIENCE = 20, 0.1
"""How often, and for how many seconds, background threads are asked to stop so that they can be let go."""
_LAST_RESPECTS = 5.0
"""Seconds to wait for killed processes."""
_REMEMBERED = 8
"""Faults per thread that its own handlers took, kept for the case that it dies."""


@dataclass(frozen=True)
class Crash:
    """A process died by this signal; `snapshot` is of the thread that caused it (None: it could not be taken)."""

    pid: int
    signal: int
    snapshot: Snapshot | None
    foreign: bool = False
    """It ran code of another architecture."""


@dataclass
class Monitor:
    """Runs one command.  `on_crash` is called for every process that died of a fault, when it is gone; `on_tick` every
    `interval` seconds and may end the run by `kill`."""

    on_crash: Callable[[Crash], None]
    on_tick: Callable[[Monitor], None] | None = None
    interval: float = 0.1
    on_trap: Callable[[int], bool] | None = None
    """Called with the thread that met a breakpoint; True: it was one of ours, and the thread may go on."""

    on_exit: Callable[[int], None] | None = None
    """Called with each thread that is about to end: its memory can still be read."""

    main: int = 0
    start_failure: int | None = None
    """errno, if the command could not be started."""
    left_running: int = 0
    """Processes that were still alive when the command ended."""
    handled: dict[int, Fault] = field(default_factory=dict)
    """By process: the last fault that a handler of its own took."""

    _status: int | None = None
    _killed: bool = False
    _tracees: set[int] = field(default_factory=set)
    _processes: set[int] = field(default_factory=set)
    _earlier: dict[int, list[Fault]] = field(default_factory=dict)
    _pending: dict[int, Crash] = field(default_factory=dict)
    _stops: dict[int, int] = field(default_factory=dict)

    def run(self, command: Sequence[str]) -> int:
        """The command's exit status as a shell has it.  Raises SensorError if it cannot be watched.

        Signals that others send to this process are passed on to the command; those of the terminal reach it anyway.
        """
        waited = _FORWARDED | {signals.SIGCHLD}
        child_handler = signals.signal(signals.SIGCHLD, signals.SIG_DFL)  # ignored, it would not wake us
        mask = signals.pthread_sigmask(signals.SIG_BLOCK, waited)
        try:
            started = launch.start(command, mask)
            self.main = started.pid
            self._tracees.add(started.pid)
            self._processes.add(started.pid)
            self._follow(waited)
            self.start_failure = started.failed()
            self._leave_the_rest()
        finally:
            signals.signal(signals.SIGCHLD, child_handler)
            signals.pthread_sigmask(signals.SIG_SETMASK, mask)
        if self.start_failure is not None:
            return launch.exit_status(self.start_failure)
        assert self._status is not None
        return os.WEXITSTATUS(self._status) if os.WIFEXITED(self._status) else 128 + os.WTERMSIG(self._status)

    @property
    def processes(self) -> frozenset[int]:
        """Process ids of the command and its descendants that are alive."""
        return frozenset(self._processes)

    def kill(self) -> None:
        """Kill the command and all its descendants."""
        self._killed = True
        for pid in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signals.SIGKILL)

    def stop(self, tid: int, patience: float = 1.0) -> bool:
        """Stop a running thread for `resume`; other events go on meanwhile.  False: it ended, or would not stop."""
        try:
            ptrace.interrupt(tid)
        except OSError:
            return False
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and tid in self._tracees:
            if tid in self._stops:
                return True
            if not self._next_event(hold=tid):
                time.sleep(0.001)
        return tid in self._stops

    def wait(self, seconds: float) -> None:
        """Go on watching for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self._next_event():
                time.sleep(0.001)

    def resume(self, tid: int) -> None:
        """Let a thread go on that `stop` stopped."""
        self._resume(tid, self._stops.pop(tid, 0))

    def _follow(self, waited: frozenset[signals.Signals]) -> None:
        next_tick = time.monotonic() + self.interval
        while self._status is None:
            if self._next_event():
                continue
            timeout = 3600.0 if self.on_tick is None else max(0.0, next_tick - time.monotonic())
            arrived = signals.sigtimedwait(waited, timeout)
            if arrived is not None and arrived.si_signo != signals.SIGCHLD and arrived.si_code != snapshot.SI_KERNEL:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.main, arrived.si_signo)
            if self.on_tick is not None and time.monotonic() >= next_tick:
                self.on_tick(self)
                next_tick = time.monotonic() + self.interval

    def _next_event(self, hold: int | None = None) -> bool:
        """Handle one event; False: there is none."""
        try:
            tid, status = os.waitpid(-1, os.WNOHANG | _WALL)
        except ChildProcessError:
            return False
        if tid == 0:
            return False
        if os.WIFSTOPPED(status):
            self._meet(tid)
            with contextlib.suppress(ProcessLookupError):
                self._stopped(tid, os.WSTOPSIG(status), status >> 16, hold == tid)
        else:
            self._ended(tid, status)
        return True

    def _stopped(self, tid: int, signal: int, event: int, hold: bool) -> None:
        if event in (ptrace.EVENT_FORK, ptrace.EVENT_VFORK, ptrace.EVENT_CLONE):
            self._meet(ptrace.event_message(tid))
        elif event == ptrace.EVENT_EXEC:
            self._forget(tid)
        elif event == ptrace.EVENT_EXIT:
            if self.on_exit is not None:
                self.on_exit(tid)
            self._exiting(tid, ptrace.event_message(tid))
        elif event == ptrace.EVENT_STOP:
            if hold:
                self._stops[tid] = 0
                return
            if signal in _STOPPING:
                ptrace.listen(tid)
                return
        elif not (signal == signals.SIGTRAP and self.on_trap is not None and self.on_trap(tid)):
            self._resume(tid, self._signalled(tid, signal))
            return
        ptrace.resume(tid)

    def _meet(self, tid: int) -> None:
        """A new thread or process: its own first stop and its parent's event come in any order."""
        if tid in self._tracees:
            return
        state = process.status(tid)
        if state is not None:
            self._tracees.add(tid)
            if state.tgid == tid:
                self._processes.add(tid)
                if self._killed:
                    os.kill(tid, signals.SIGKILL)

    def _signalled(self, tid: int, signal: int) -> int:
        """A signal is about to be delivered: the signal to pass on."""
        if signal not in FATAL:
            return signal
        state = process.status(tid)
        if state is None or state.ignores(signal):
            return signal
        try:
            fault = snapshot.current(tid, signal, ptrace.siginfo(tid))
        except ptrace.ForeignArchitecture:
            if not state.catches(signal):
                self._pending.setdefault(state.tgid, Crash(state.tgid, signal, None, foreign=True))
            return signal
        if state.catches(signal):
            self._earlier[tid] = [*self._earlier.get(tid, ()), fault][-_REMEMBERED:]
            self.handled[state.tgid] = fault
        else:
            self._capture(tid, state.tgid, fault)
            if state.own_pid == 1 and not fault.was_sent:
                self._let_first_process_die(tid, signal)
        return signal

    def _let_first_process_die(self, tid: int, signal: int) -> None:
        """The first process of a PID namespace dies of its faults, but not while it is traced: it would repeat the
        faulting instruction for ever.  Its end is not reported to us then, unless it has other threads."""
        with contextlib.suppress(ProcessLookupError):
            ptrace.detach(tid, signal)
        self._ended(tid, signal)

    def _exiting(self, tid: int, status: int) -> None:
        """Some deaths by signal are not announced by one (seccomp's kill): the last chance to look."""
        signal = status & 0x7F
        state = process.status(tid)
        if signal not in FATAL or state is None or state.tgid in self._pending:
            return
        try:
            self._capture(tid, state.tgid, snapshot.current(tid, signal))
        except ptrace.ForeignArchitecture:
            self._pending[state.tgid] = Crash(state.tgid, signal, None, foreign=True)

    def _capture(self, tid: int, pid: int, fault: Fault) -> None:
        """Take the snapshot of a process's first fatal fault; a later one replaces it if the thread survived it."""
        before = self._pending.get(pid)
        if before is not None and (before.snapshot is None or before.snapshot.tid != tid):
            return
        if before is not None and before.snapshot is not None:
            before.snapshot.close()
        taken = snapshot.take(tid, fault, tuple(self._earlier.get(tid, ())))
        self._pending[pid] = Crash(pid, fault.signal, taken)

    def _ended(self, tid: int, status: int) -> None:
        self._tracees.discard(tid)
        self._stops.pop(tid, None)
        self._earlier.pop(tid, None)
        if tid not in self._processes:
            return
        self._processes.discard(tid)
        crash = self._pending.pop(tid, None)
        if crash is not None:
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == crash.signal:
                self.on_crash(crash)
            if crash.snapshot is not None:
                crash.snapshot.close()
        if tid == self.main:
            self._status = status

    def _forget(self, tid: int) -> None:
        """exec: another program from here on, in this thread alone.  If another thread than the first called it, that
        thread's id is gone."""
        former = ptrace.event_message(tid)
        self._earlier.pop(tid, None)
        self._earlier.pop(former, None)
        self.handled.pop(tid, None)
        if former != tid:
            self._tracees.discard(former)

    def _resume(self, tid: int, signal: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            ptrace.resume(tid, signal)

    def _leave_the_rest(self) -> None:
        """The command has ended; what it left in the background runs on, unwatched."""
        while self._next_event():
            pass
        if self._killed:
            self._await_all()
            return
        self.left_running = len(self._processes)
        for _ in range(_ROUNDS):  # threads start threads; a vfork parent stops only when its child is let go
            for tid in list(self._tracees):
                if self.stop(tid, patience=_PATIENCE):
                    self._stops.pop(tid)
                    self._tracees.discard(tid)
                    with contextlib.suppress(OSError):
                        ptrace.detach(tid)
            if not self._tracees:
                return

    def _await_all(self) -> None:
        """See all processes go that were killed; one that the kernel holds on to is not waited for for ever."""
        deadline = time.monotonic() + _LAST_RESPECTS
        while self._processes and time.monotonic() < deadline:
            if not self._next_event():
                time.sleep(0.001)
