"""Where a program that does not end is spinning.

The thread that uses most CPU time is stopped several times and unwound.  Of the frames that are in every sample (same
function, same place on the stack, counted from the outermost), the innermost one may be where the loop is: what it
calls comes and goes, what called it waits.  But a function that the loop calls again and again for nearly all of the
time is in every sample too: so watch which of these frames return (returns.py), and take the innermost that does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from stemrw.documents.fault_report import FaultReport, Hang
from stemrw.sense import process, snapshot
from stemrw.sense.monitor import Monitor
from stemrw.sense.report import Reporter
from stemrw.sense.returns import frames_that_return
from stemrw.sense.snapshot import Snapshot
from stemrw.sense.unwind import Backtrace, RawFrame

SAMPLES = 10
_INTERVAL = 0.06
"""Seconds between samples."""
_OBSERVED = 0.2
"""Seconds during which the use of CPU time is compared."""
_BUSY = 0.02
"""Seconds of CPU time in which a process is at work, not just waiting.  A clock tick is 0.01 s."""
_NO_SIGNAL = 0

FrameKey = tuple[str, int, int]


def report_hang(
    monitor: Monitor, limit: Literal["wall", "cpu"], seconds: float, pid: int | None = None
) -> FaultReport | None:
    """Sample a process (None: the one that uses most CPU time now) and say where it spins.

    None: it has ended meanwhile.  Raises ptrace.ForeignArchitecture.
    """
    if pid is None:
        pid = _busiest_process(monitor)
    tid = _busiest_thread(monitor, pid) if pid is not None else None
    if pid is None or tid is None:
        return None
    before = process.times(pid, tid)
    samples = _sample(monitor, tid)
    after, whole = process.times(pid, tid), process.times(pid)
    if not samples:
        return None
    hang = Hang(
        limit=limit,
        seconds=seconds,
        cpu_seconds=whole.cpu if whole else 0.0,
        samples=len(samples),
        spinning=before is not None and after is not None and after.cpu > before.cpu,
    )
    try:
        return _report(samples, hang, monitor)
    finally:
        for sample in samples:
            sample.close()


def _busiest_process(monitor: Monitor) -> int | None:
    """The process that used most CPU time just now; where none did, the youngest: it is what the others wait for."""
    before = _cpu((pid, process.times(pid)) for pid in monitor.processes)
    monitor.wait(_OBSERVED)
    found = [(pid, times) for pid in sorted(monitor.processes) if (times := process.times(pid)) is not None]
    used = {pid: times.cpu - before.get(pid, times.cpu) for pid, times in found}
    if max(used.values(), default=0.0) >= _BUSY:
        return max(used, key=lambda pid: used[pid])
    return max(found, key=lambda item: (item[1].started, item[0]), default=(None, None))[0]


def _busiest_thread(monitor: Monitor, pid: int) -> int | None:
    before = _cpu((tid, process.times(pid, tid)) for tid in process.threads(pid))
    if len(before) == 1:
        return next(iter(before))
    monitor.wait(_OBSERVED)
    after = _cpu((tid, process.times(pid, tid)) for tid in before)
    return max(after, key=lambda tid: (after[tid] - before[tid], tid == pid), default=None)


def _cpu(found: Iterable[tuple[int, process.Times | None]]) -> dict[int, float]:
    return {key: times.cpu for key, times in found if times is not None}


def _sample(monitor: Monitor, tid: int) -> list[Snapshot]:
    samples: list[Snapshot] = []
    for _ in range(SAMPLES):
        if not monitor.stop(tid):
            break
        try:
            taken = snapshot.take(tid, snapshot.current(tid, _NO_SIGNAL))
        except ProcessLookupError:
            break
        finally:
            monitor.resume(tid)
        if taken is not None:
            samples.append(taken)
        monitor.wait(_INTERVAL)
    return samples


def _report(samples: list[Snapshot], hang: Hang, monitor: Monitor) -> FaultReport:
    """From the sample that shows the spinning frame itself at work, if there is one, else from the last."""
    reporters = [Reporter(sample) for sample in samples]
    try:
        traces = [reporter.unwinder.backtrace(reporter.snapshot.fault.registers) for reporter in reporters]
        depth = _common_depth([_keys(reporter, trace) for reporter, trace in zip(reporters, traces, strict=True)])
        if depth == 0:
            return reporters[-1].hang(traces[-1], hang)
        last = traces[-1].frames
        depth -= frames_that_return(monitor, samples[-1].tid, last[len(last) - depth :])
        chosen = next((i for i, trace in enumerate(traces) if len(trace.frames) == depth), len(traces) - 1)
        trace = traces[chosen]
        return reporters[chosen].hang(Backtrace(trace.frames[len(trace.frames) - depth :], trace.note), hang)
    finally:
        for reporter in reporters:
            reporter.close()


def _keys(reporter: Reporter, trace: Backtrace) -> list[FrameKey]:
    """Outermost first: which function, and where its frame ends (where the caller's begins)."""
    ends = [caller.stack for caller in trace.frames[1:]] + [0]
    return [
        (*_function(reporter, frame), end) for frame, end in zip(reversed(trace.frames), reversed(ends), strict=True)
    ]


def _function(reporter: Reporter, frame: RawFrame) -> tuple[str, int]:
    place = reporter.space.place(frame.pc)
    if place is None:
        return "", frame.pc
    function = place.module.function(place.address - frame.return_address)
    return place.module.path, place.address if function is None else function


def _common_depth(samples: list[list[FrameKey]]) -> int:
    """How many frames, from the outermost, all samples share."""
    depth = 0
    for frames in zip(*samples, strict=False):
        if len(set(frames)) > 1:
            break
        depth += 1
    return depth
