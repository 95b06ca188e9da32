"""Starting the command, watched from its first instruction and otherwise as its parent would have started it."""

from __future__ import annotations

import ctypes
import errno
import os
import signal as signals
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from stemrw.errors import SensorError
from stemrw.sense import ptrace

_libc = ctypes.CDLL(None, use_errno=True)
_IGNORED_BY_PYTHON = (signals.SIGPIPE, signals.SIGXFSZ)
NOT_FOUND, NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True)
class Started:
    """The command's process, and the pipe that tells why it could not be started."""

    pid: int
    failure: int

    def failed(self) -> int | None:
        """errno of a failed start; None: it was started.  To be asked once, after its first event."""
        data = os.read(self.failure, 4)
        os.close(self.failure)
        return int.from_bytes(data, "little") if data else None


def start(command: Sequence[str], mask: Collection[int]) -> Started:
    """Start the command with the signal mask given.  Raises SensorError if it cannot be watched.

    The child waits for its parent to seize it, then becomes the command: execvp as a shell has it, so PATH, scripts
    without #! and error codes are the usual ones.
    """
    encoded = [os.fsencode(part) for part in command]
    arguments = (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)
    gate, release = os.pipe()
    failure, failed = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(release)
            if os.read(gate, 1):
                for number in _IGNORED_BY_PYTHON:
                    signals.signal(number, signals.SIG_DFL)
                _restore_environment()
                signals.pthread_sigmask(signals.SIG_SETMASK, mask)
                _libc.execvp(encoded[0], arguments)
                os.write(failed, ctypes.get_errno().to_bytes(4, "little"))
        finally:
            os._exit(NOT_EXECUTABLE)
    os.close(gate)
    os.close(failed)
    try:
        ptrace.seize(pid)
        os.write(release, b"g")
    except OSError as error:
        os.close(release)
        os.waitpid(pid, 0)
        hint = "another tracer, a seccomp filter or kernel.yama.ptrace_scope may forbid it"
        raise SensorError(f"cannot watch the command: {error.strerror}", hint=hint) from None
    os.close(release)
    return Started(pid, failure)


def exit_status(code: int) -> int:
    """What a shell returns for a command that could not be started."""
    return NOT_FOUND if code == errno.ENOENT else NOT_EXECUTABLE


def _restore_environment() -> None:
    """Undo what Python does to the C locale's environment (PEP 538)."""
    if "LC_CTYPE" not in os.environ:
        return
    with open("/proc/self/environ", "rb") as file:
        if not any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0")):
            del os.environ["LC_CTYPE"]
