"""The ptrace requests of a debugger that the sensor does not need: steps, system call stops, hardware breakpoints."""

from __future__ import annotations

import ctypes
import os
import struct
import warnings
from collections.abc import Mapping, Sequence

from stemrw.sense import ptrace as sensor

TRACEME, POKEUSER, CONT, SINGLESTEP, SYSCALL = 0, 6, 7, 9, 24
SETOPTIONS, GETREGSET, GET_RSEQ_CONFIGURATION = 0x4200, 0x4204, 0x420F
OPTION_EXITKILL = 1 << 20

_DEBUG_REGISTERS = 848
"""Offset of u_debugreg in struct user."""
_NO_RANDOMIZATION = 0x0040000
_NT_PRFPREG = 2
_FXSAVE_BYTES = 512

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long

registers = sensor.registers


def request(number: int, tid: int, address: int = 0, data: int = 0) -> None:
    """One request; raises OSError, ProcessLookupError if the thread is gone."""
    if _libc.ptrace(number, tid, address, data) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def start(program: str, command: Sequence[str], environment: Mapping[str, str], files: Sequence[int], cwd: str) -> int:
    """Start a program that stops at its first instruction, with `files` as its descriptors from 0 on, and always at the
    same addresses."""
    arguments = (ctypes.c_char_p * (len(command) + 1))(*map(os.fsencode, command), None)
    variables = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    block = (ctypes.c_char_p * (len(variables) + 1))(*variables, None)
    path, folder = os.fsencode(program), os.fsencode(cwd)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of forks beside threads: the child makes system calls only
        pid = os.fork()
    if pid == 0:
        try:
            for number, file in enumerate(files):
                os.dup2(file, number)
            os.closerange(len(files), 256)
            os.chdir(folder)
            _libc.personality(_NO_RANDOMIZATION)
            request(TRACEME, 0)
            _libc.execve(path, arguments, block)
        finally:
            os._exit(127)
    return pid


def set_breakpoints(tid: int, addresses: Mapping[int, int]) -> None:
    """The thread's hardware breakpoints, by their number 0 … 3: it stops before it executes one of these."""
    control = _DEBUG_REGISTERS + 8 * 7
    request(POKEUSER, tid, control, 0)
    for number, address in addresses.items():
        request(POKEUSER, tid, _DEBUG_REGISTERS + 8 * number, address)
    request(POKEUSER, tid, control, sum(1 << 2 * number for number in addresses))


def floating_point(tid: int) -> tuple[int, int]:
    """x87 control word and MXCSR."""
    area = ctypes.create_string_buffer(_FXSAVE_BYTES)
    vector = ctypes.create_string_buffer(struct.pack("<QQ", ctypes.addressof(area), _FXSAVE_BYTES))
    request(GETREGSET, tid, _NT_PRFPREG, ctypes.addressof(vector))
    return struct.unpack_from("<H", area, 0)[0], struct.unpack_from("<I", area, 24)[0]


def rseq_area(tid: int) -> tuple[int, int]:
    """Where the thread's registered struct rseq begins and ends; (0, 0) without."""
    buffer = ctypes.create_string_buffer(24)
    try:
        request(GET_RSEQ_CONFIGURATION, tid, len(buffer), ctypes.addressof(buffer))
    except OSError:
        return 0, 0
    address, size = struct.unpack_from("<QI", buffer)
    return address, address + size
