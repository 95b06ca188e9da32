"""The tool's command line, run in another process with limits, and what became of it.

One worker process imports the tool once and takes call after call, so that thousands of them cost milliseconds each.
Where a call kills it, that is the call's outcome, and the next one gets a new worker.  Calls under special conditions
(another user, a full disk, a file that changes meanwhile) are made in a child of the worker.

    with Contained() as contained:
        outcome = contained.call(["patch", "broken", "--region", "main", "-o", "out"], cwd=folder)
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

SECONDS = 10
"""Allowed per call: of CPU, enforced by the kernel, and `PATIENCE` times as much by the clock, for a busy machine."""
PATIENCE = 6
MEMORY = 1 << 30
"""Bytes of address space allowed per call, the interpreter included."""
INTERNAL_ERROR = 70
NOBODY = 65534


@dataclass(frozen=True)
class Outcome:
    """How a call ended: exit status, or None and the signal; what it printed; CPU seconds and peak memory (bytes)."""

    status: int | None
    signal: int | None
    stdout: str
    stderr: str
    cpu: float
    memory: int


class Contained:
    """A worker process for calls of the tool; a new one where a call did not survive."""

    def __init__(self) -> None:
        self._worker: subprocess.Popen[bytes] | None = None

    def call(
        self, arguments: Sequence[str | Path], *, cwd: Path, call: str = "stemrw.cli:call", **special: Any
    ) -> Outcome:
        """Call the command line (or another function of a list of words).

        Special conditions, each in a child of its own:
        `unprivileged`: as the user nobody.  `file_size`: bytes that a file may have (RLIMIT_FSIZE), as if the disk were
        full.  `meddle`: {"path", "event", "do"}: at the n-th thing that Python's audit hooks tell of since the tool
        opened `path`, somebody else does something to that file; see `_meddle`.
        """
        worker = self._worker or self._start()
        assert worker.stdin is not None and worker.stdout is not None
        words = [os.fspath(word) for word in arguments]
        worker.stdin.write(json.dumps({"call": call, "arguments": words, "cwd": str(cwd), **special}).encode() + b"\n")
        worker.stdin.flush()
        if not select.select([worker.stdout], [], [], PATIENCE * SECONDS)[0]:
            worker.send_signal(signal.SIGALRM)
        answer = worker.stdout.readline()
        if answer:
            return Outcome(**json.loads(answer))
        self._worker = None
        ended = worker.wait()
        return Outcome(None, -ended, "", "", 0, 0) if ended < 0 else Outcome(ended, None, "", "", 0, 0)

    def _start(self) -> subprocess.Popen[bytes]:
        root = Path(__file__).resolve().parents[2]
        path = os.pathsep.join([str(root), str(root / "tests"), *sys.path])
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "hostile.contained"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        return self._worker

    def __enter__(self) -> Contained:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None:
            self._worker.communicate()


def judge(outcome: Outcome, *, names: str | None = None, answers: tuple[int, ...] = (0,)) -> str | None:
    """What is wrong with the outcome of a call that was given something bad; None if nothing is.

    Right is: done (with a status of `answers`), or refused with status 2 and one readable sentence that names the file,
    within the limits.
    """
    if outcome.signal is not None:
        return f"died of {signal.Signals(outcome.signal).name}: {outcome.stderr[-2000:]}"
    if outcome.status not in (*answers, 2):
        return f"exit status {outcome.status}: {outcome.stderr[-2000:]}"
    if outcome.cpu > SECONDS:
        return f"took {outcome.cpu:.1f} s"
    if outcome.memory > MEMORY:
        return f"took {outcome.memory >> 20} MiB"
    if outcome.status != 2:
        return f"succeeded but complained: {outcome.stderr}" if outcome.stderr else unreadable(outcome.stdout)
    if outcome.stdout:
        return f"printed something before it failed: {outcome.stdout[:500]}"
    if not outcome.stderr.startswith("stemrw: ") or outcome.stderr.count("\n") != 1:
        return f"not one sentence: {outcome.stderr[:2000]!r}"
    if len(outcome.stderr) > 1500:
        return f"not readable, {len(outcome.stderr)} characters: {outcome.stderr[:500]}…"
    if "not enough memory" in outcome.stderr:
        return "ran out of memory"
    if names is not None and names not in outcome.stderr:
        return f"does not say where: {outcome.stderr}"
    return unreadable(outcome.stderr)


def unreadable(text: str) -> str | None:
    """What a terminal would obey instead of showing it: controls, escapes, direction marks, surrogates."""
    bad = sorted({c for c in text if not c.isprintable() and c != "\n"})
    return f"shows raw {bad} in {text[:500]!r}" if bad else None


# The worker


def work() -> None:
    """Answer requests on standard input until it ends."""
    answers = os.dup(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        request = json.loads(line)
        special = request.keys() & {"unprivileged", "file_size", "meddle"}
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            outcome = (_in_child if special else _here)(request)
            texts = [_content(stdout.fileno()), _content(stderr.fileno())]
        outcome["stdout"], outcome["stderr"] = texts
        os.write(answers, json.dumps(outcome).encode() + b"\n")


def _content(descriptor: int) -> str:
    return os.pread(descriptor, 1 << 20, 0).decode("utf-8", "replace")


def _here(request: dict[str, Any]) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    used = before.ru_utime + before.ru_stime
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS + 1, resource.RLIM_INFINITY))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of memory
    status = _called(request)
    after = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    cpu = after.ru_utime + after.ru_stime - used
    return {"status": status, "signal": None, "cpu": cpu, "memory": int(peak.split()[1]) << 10}


def _in_child(request: dict[str, Any]) -> dict[str, Any]:
    child = os.fork()
    if child == 0:
        _condition(request)
        os._exit(_called(request))
    _, status, usage = os.wait4(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    return {
        "status": ended if ended >= 0 else None,
        "signal": -ended if ended < 0 else None,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss << 10,
    }


def _condition(request: dict[str, Any]) -> None:
    signal.alarm(PATIENCE * SECONDS - SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    if request.get("unprivileged") and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    if "file_size" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], request["file_size"]))
    if "meddle" in request:
        sys.addaudithook(_meddle(**request["meddle"]))


def _called(request: dict[str, Any]) -> int:
    try:
        os.chdir(request["cwd"])
        module, _, name = request["call"].partition(":")
        return int(getattr(importlib.import_module(module), name)(request["arguments"]))
    except BaseException:
        traceback.print_exc()
        return INTERNAL_ERROR
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _meddle(path: str, event: int, do: str) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that changes a file under the tool's hands: at the `event`-th event after its first opening.

    `do`: "shrink" (to half), "empty", "grow" (by as much), "change" (its last byte), "remove", "replace" (by another).
    """
    seen, busy = -1, False

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen, busy
        if busy:
            return
        if seen >= 0 or (name == "open" and arguments[0] == path):
            seen += 1
        if seen == event:
            busy = True
            _interfere(path, do)

    return hook


def _interfere(path: str, do: str) -> None:
    if do == "remove":
        os.unlink(path)
        return
    if do == "replace":
        os.rename(path, path + ".old")
        with open(path, "wb") as file:
            file.write(b"something else")
        return
    with open(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if do == "change":
            file.seek(size - 1)
            last = file.read(1)
            file.seek(size - 1)
            file.write(bytes([last[0] ^ 0xFF]))
        else:
            file.truncate({"shrink": size // 2, "empty": 0, "grow": 2 * size}[do])


def leftovers(folder: Path, before: set[str]) -> list[str]:
    """Names in a folder that were not there before."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.name not in before)


if __name__ == "__main__":
    work()
