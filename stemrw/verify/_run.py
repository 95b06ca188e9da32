"""Runs commands with the file under test in its place: same path, same name, same environment for original and copy.

The current folder is the user's.  Standard input is empty.  Each command has a session of its own; when it is over or
takes too long, what is left of its process group is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemrw.elf import Elf
from stemrw.errors import UsageError
from stemrw.verify._place import place

_FATAL = frozenset({
    signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS,
})  # fmt: skip
_SHELL_OFFSET = 128


@dataclass(frozen=True)
class Ended:
    """How a command ended, what it printed, and the recoveries that were recorded.

    `status` is the exit status, negative for a signal, None when it had to be killed for taking too long.
    """

    status: int | None
    stdout: bytes
    stderr: bytes
    recoveries: tuple[dict[str, Any], ...] = ()

    @property
    def died(self) -> bool:
        """Of a fault, or for good: by a signal, as a shell tells of one (128 + n), or out of time."""
        if self.status is None or self.status < 0:
            return True
        return self.status - _SHELL_OFFSET in _FATAL

    def __str__(self) -> str:
        if self.status is None:
            return "did not end in time"
        number = -self.status if self.status < 0 else self.status - _SHELL_OFFSET
        if self.died:
            return f"died of {signal.Signals(number).name}"
        return f"ended with exit status {self.status}"


class Runner:
    """Commands on one hardened file.  `names` are those under which a command may name the program."""

    def __init__(self, original: Elf, hardened: Path, names: Sequence[str], folder: Path, timeout: float) -> None:
        self._elf, self._hardened, self._timeout, self._folder = original, hardened, timeout, folder
        self._names = names
        self._events = folder / "events.jsonl"
        self._saved = folder / "original"
        self._saved.write_bytes(original.data)
        self._saved.chmod(0o755)

    @classmethod
    @contextmanager
    def create(cls, original: Elf, hardened: Path, names: Sequence[str], timeout: float) -> Iterator[Runner]:
        """A runner in a temporary folder.  Raises UsageError where x86-64 Linux programs do not run."""
        if sys.platform != "linux" or platform.machine() != "x86_64":
            raise UsageError("the file can only be run on Linux on x86-64", hint="leave out --replay and --check")
        with tempfile.TemporaryDirectory(prefix="stemrw-verify-") as folder:
            yield cls(original, hardened, names, Path(folder), timeout)

    def original(self, command: str) -> Ended:
        """Run a command line with the original in place."""
        return self._run(command, self._saved)

    def hardened(self, command: str) -> Ended:
        """Run a command line with the hardened file in place."""
        return self._run(command, self._hardened)

    def _run(self, command: str, file: Path) -> Ended:
        words, path, environment = self._prepared(command)
        path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # a process of the last run may still have it
        shutil.copy(file, path)
        path.chmod(path.stat().st_mode | 0o111)
        self._events.unlink(missing_ok=True)
        status, stdout, stderr = self._execute(words, environment)
        return Ended(status, stdout, stderr, self._recoveries())

    def _prepared(self, command: str) -> tuple[list[str], Path, dict[str, str]]:
        """Words, the place for the file under test, environment."""
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"the command {command!r} cannot be understood: {error}") from None
        if not words:
            raise UsageError("an empty command was given")
        placed = place(self._elf, words, self._folder, names=self._names, home=self._hardened.parent)
        return placed.words, placed.path, placed.environment | {"STEMRW_EVENTS": str(self._events)}

    def _execute(self, words: Sequence[str], environment: dict[str, str]) -> tuple[int | None, bytes, bytes]:
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            try:
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise UsageError(f"the command cannot be run: {error.strerror}", file=words[0]) from None
            try:
                in_time = _wait(process.pid, self._timeout)
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
            stdout.seek(0)
            stderr.seek(0)
            return status if in_time else None, stdout.read(), stderr.read()

    def _recoveries(self) -> tuple[dict[str, Any], ...]:
        if not self._events.exists():
            return ()
        events = [json.loads(line) for line in self._events.read_text().splitlines()]
        return tuple(event for event in events if event["event"] == "recovery")


def _wait(pid: int, seconds: float) -> bool:
    """Wait until a child has ended, or for so long; it stays a zombie, so that its group cannot become another's."""
    end = time.monotonic() + seconds
    pause = 0.001
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    return True
