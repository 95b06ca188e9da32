"""The few ptrace requests the sensor needs, through libc.

Only the thread that seized a tracee may make requests about it, and only while the tracee is stopped.  A tracee can
vanish at any moment (SIGKILL): every request then raises ProcessLookupError, which callers take as "it is gone".
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

CONT, DETACH = 7, 17
GETEVENTMSG, GETSIGINFO, GETREGSET, SETREGSET = 0x4201, 0x4202, 0x4204, 0x4205
SEIZE, INTERRUPT, LISTEN = 0x4206, 0x4207, 0x4208

EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_EXIT, EVENT_STOP = (1, 2, 3, 4, 6, 128)
_ALL_EVENTS = (EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_EXIT)
_EXITKILL = 1 << 20

_NT_PRSTATUS = 1
_SIGINFO_BYTES = 128

REGISTERS = [
    "r15",
    "r14",
    "r13",
    "r12",
    "rbp",
    "rbx",
    "r11",
    "r10",
    "r9",
    "r8",
    "rax",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "orig_rax",
    "rip",
    "cs",
    "eflags",
    "rsp",
    "ss",
    "fs_base",
    "gs_base",
    "ds",
    "es",
    "fs",
    "gs",
]
"""struct user_regs_struct of x86-64, in its order."""
REGISTER_BYTES = 8 * len(REGISTERS)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class ForeignArchitecture(Exception):
    """The tracee does not run x86-64 code."""


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _request(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, tid, address, data) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def seize(pid: int, events: Iterable[int] = _ALL_EVENTS) -> None:
    """Watch a process from here on; it dies if this process dies.

    With the default events all its future threads and children are watched too.
    """
    _request(SEIZE, pid, 0, sum(1 << event for event in events) | _EXITKILL)


def resume(tid: int, signal: int = 0) -> None:
    """Let a stopped tracee go on, with a signal delivered to it or none."""
    _request(CONT, tid, 0, signal)


def listen(tid: int) -> None:
    """Leave a tracee in its group stop (Ctrl-Z, SIGSTOP) until SIGCONT."""
    _request(LISTEN, tid)


def interrupt(tid: int) -> None:
    """Ask a running tracee to stop; it reports EVENT_STOP."""
    _request(INTERRUPT, tid)


def detach(tid: int, signal: int = 0) -> None:
    """Give up a stopped tracee; it runs on."""
    _request(DETACH, tid, 0, signal)


def event_message(tid: int) -> int:
    """The number that goes with an event: new process id, former thread id, exit status."""
    value = ctypes.c_ulong()
    _request(GETEVENTMSG, tid, 0, ctypes.addressof(value))
    return value.value


def siginfo(tid: int) -> bytes:
    """siginfo_t of the signal-delivery stop."""
    buffer = ctypes.create_string_buffer(_SIGINFO_BYTES)
    _request(GETSIGINFO, tid, 0, ctypes.addressof(buffer))
    return buffer.raw


def registers(tid: int) -> dict[str, int]:
    """General registers of a stopped thread.  Raises ForeignArchitecture for anything but x86-64."""
    buffer = ctypes.create_string_buffer(REGISTER_BYTES)
    vector = _Vector(ctypes.addressof(buffer), REGISTER_BYTES)
    _request(GETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))
    if vector.length != REGISTER_BYTES:
        raise ForeignArchitecture
    return dict(zip(REGISTERS, struct.unpack(f"<{len(REGISTERS)}Q", buffer.raw), strict=True))


def set_registers(tid: int, values: dict[str, int]) -> None:
    """Write all general registers of a stopped thread."""
    buffer = ctypes.create_string_buffer(struct.pack(f"<{len(REGISTERS)}Q", *(values[name] for name in REGISTERS)))
    vector = _Vector(ctypes.addressof(buffer), REGISTER_BYTES)
    _request(SETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))
