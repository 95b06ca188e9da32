"""Running a command and reporting the first fault in it."""

from __future__ import annotations

import os
import signal as signals
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stemrw.documents.fault_report import FaultReport, printable
from stemrw.sense import process, ptrace
from stemrw.sense.monitor import Crash, Monitor


@dataclass
class Sensor:
    """Runs a command once.

    `report` is called with the first fault's report, as soon as the process is dead (or found to hang); `say` with
    lines for the user.  `timeout` (wall clock) and `cpu_limit` (CPU time of any one process) are in seconds; a command
    that exceeds one is reported as a hang and killed, with its descendants.
    """

    report: Callable[[FaultReport], None]
    say: Callable[[str], None]
    timeout: float | None = None
    cpu_limit: float | None = None

    reported: FaultReport | None = None
    faults: int = 0
    """Processes that died of a fault, reported or not, and hangs."""
    _started: float = field(default_factory=time.monotonic)

    def run(self, command: Sequence[str]) -> int:
        """The command's exit status as a shell has it.  Raises SensorError if it cannot be watched."""
        limited = self.timeout is not None or self.cpu_limit is not None
        monitor = Monitor(on_crash=self._crashed, on_tick=self._check_limits if limited else None)
        self._started = time.monotonic()
        status = monitor.run(command)
        if monitor.start_failure is not None:
            self.say(f"{printable(command[0])}: cannot be started: {os.strerror(monitor.start_failure)}")
            return status
        if monitor.left_running:
            self.say(f"left running in the background, unwatched: {_count(monitor.left_running)}")
        if self.faults == 0:
            self._say_no_crash(monitor)
        return status

    def _say_no_crash(self, monitor: Monitor) -> None:
        for pid, fault in monitor.handled.items():
            self.say(f"process {pid} took {fault.name} with a handler of its own and did not die of it")
        self.say("no crash; no report written")

    def _crashed(self, crash: Crash) -> None:
        self.faults += 1
        name = signals.Signals(crash.signal).name
        if crash.foreign:
            self.say(f"process {crash.pid} died of {name}, but runs 32-bit code, which is not supported yet: no report")
        elif crash.snapshot is None:
            self.say(f"process {crash.pid} died of {name}, but was gone before it could be looked at: no report")
        elif self.reported is not None:
            self.say(f"process {crash.pid} died of {name} too; the report is about the first")
        else:
            from stemrw.sense.report import (
                Reporter,  # drgn and others take 0.2 s to load: not before a crash
            )

            reporter = Reporter(crash.snapshot)
            try:
                self._found(reporter.crash())
            finally:
                reporter.close()

    def _check_limits(self, monitor: Monitor) -> None:
        if self.timeout is not None and time.monotonic() - self._started >= self.timeout:
            self._hung(monitor, "wall", self.timeout, None)
        elif self.cpu_limit is not None:
            for pid in monitor.processes:
                times = process.times(pid)
                if times is not None and times.cpu >= self.cpu_limit:
                    self._hung(monitor, "cpu", self.cpu_limit, pid)
                    return

    def _hung(self, monitor: Monitor, limit: Literal["wall", "cpu"], seconds: float, pid: int | None) -> None:
        from stemrw.sense.hang import report_hang  # see _crashed

        self.faults += 1
        monitor.on_tick = None
        self.say(f"the command exceeded its limit of {seconds:g} s {'CPU time' if limit == 'cpu' else ''}".rstrip())
        try:
            found = report_hang(monitor, limit, seconds, pid)
        except ptrace.ForeignArchitecture:
            self.say("it runs 32-bit code, which is not supported yet: no report")
        else:
            if found is not None and self.reported is None:
                self._found(found)
        monitor.kill()

    def _found(self, report: FaultReport) -> None:
        self.reported = report
        self.report(report)


def _count(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"
