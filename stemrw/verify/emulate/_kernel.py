"""As much of a kernel as the runtime needs: its system calls, and signals delivered to its handlers.

The program itself gets none: a run ends at its first system call (see `_machine`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from unicorn import Uc, x86_const

from stemrw.verify.emulate._memory import Memory

SIGILL, SIGTRAP, SIGFPE, SIGSEGV = 4, 5, 8, 11
SI_KERNEL = 0x80
_PID = 4242
_EINVAL, _ENOSYS, _ENOMEM, _ENOENT, _EEXIST, _ESPIPE, _EBADF = -22, -38, -12, -2, -17, -29, -9
_MAP_FIXED, _MAP_FIXED_NOREPLACE = 0x10, 0x100000
_LARGEST = 64 << 20
"""Bytes of the largest accessible mapping; what is larger is refused, and the runtime takes less."""
AUXILIARY = struct.pack("<8Q", 26, 2, 6, 4096, 23, 0, 0, 0)
"""The auxiliary vector: AT_HWCAP2 (FSGSBASE), AT_PAGESZ, AT_SECURE, AT_NULL."""

_ON_STACK = 0x08000000
_DISABLED = 2
_INFO_BYTES, _CONTEXT_BYTES = 128, 968
_REGISTERS = tuple(
    getattr(x86_const, f"UC_X86_REG_{name}")
    for name in "R8 R9 R10 R11 R12 R13 R14 R15 RDI RSI RBP RBX RDX RAX RCX RSP RIP EFLAGS".split()
)
_GENERAL_AT = 40
"""Offset of the first general register in struct ucontext."""


@dataclass(frozen=True)
class Action:
    """One signal's action, as rt_sigaction sets it."""

    handler: int = 0
    flags: int = 0
    restorer: int = 0
    mask: int = 0

    def pack(self) -> bytes:
        return struct.pack("<4Q", self.handler, self.flags, self.restorer, self.mask)


@dataclass
class Kernel:
    """State that the kernel keeps for the process, and its services."""

    unicorn: Uc
    memory: Memory
    actions: dict[int, Action] = field(default_factory=dict)
    signal_stack: tuple[int, int, int] = (0, _DISABLED, 0)
    """Start, flags, size."""
    _files: dict[int, bytes] = field(default_factory=dict)

    def call(self, number: int, arguments: tuple[int, ...]) -> int:
        """Serve one system call; gives its result."""
        service = _SERVICES.get(number)
        return service(self, *arguments) if service else _ENOSYS

    # signals

    def deliver(self, signal: int, code: int, address: int) -> bool:
        """Let the process's handler for a fault run next; False: it has none."""
        action = self.actions.get(signal, Action())
        if action.handler <= 1:
            return False
        values = [self.unicorn.reg_read(register) for register in _REGISTERS]
        rsp = values[15]
        start, flags, size = self.signal_stack
        if action.flags & _ON_STACK and not flags & _DISABLED and not start <= rsp < start + size:
            top = start + size
        else:
            top = rsp - 128
        info = (top - _INFO_BYTES) & -16
        context = (info - _CONTEXT_BYTES) & -16
        self.unicorn.mem_write(info, struct.pack("<4iQ", signal, 0, code, 0, address).ljust(_INFO_BYTES, b"\0"))
        saved = bytes(_GENERAL_AT) + struct.pack(f"<{len(values)}Q", *values)
        self.unicorn.mem_write(context, saved.ljust(_CONTEXT_BYTES, b"\0"))
        self.unicorn.mem_write(context - 8, struct.pack("<Q", action.restorer))
        for register, value in (
            (x86_const.UC_X86_REG_RDI, signal),
            (x86_const.UC_X86_REG_RSI, info),
            (x86_const.UC_X86_REG_RDX, context),
            (x86_const.UC_X86_REG_RSP, context - 8),
            (x86_const.UC_X86_REG_RIP, action.handler),
            (x86_const.UC_X86_REG_EFLAGS, 0x202),
        ):
            self.unicorn.reg_write(register, value)
        return True

    def return_from_handler(self) -> None:
        """rt_sigreturn: every register as the handler left it in its context."""
        context = self.unicorn.reg_read(x86_const.UC_X86_REG_RSP)
        raw = self.unicorn.mem_read(context + _GENERAL_AT, 8 * len(_REGISTERS))
        for register, value in zip(_REGISTERS, struct.unpack(f"<{len(_REGISTERS)}Q", raw), strict=True):
            self.unicorn.reg_write(register, value)

    # system calls

    def _mmap(self, near: int, size: int, rights: int, flags: int, *_: int) -> int:
        if flags & _MAP_FIXED:
            return _EINVAL
        if rights and size > _LARGEST:
            return _ENOMEM
        taken = not near or bool(self.memory.overlapping(near, near + size))
        if taken and flags & _MAP_FIXED_NOREPLACE:
            return _EEXIST
        start = self.memory.free_range(size) if taken else near
        self.memory.map(start, size, rights)
        return start

    def _munmap(self, start: int, size: int, *_: int) -> int:
        self.memory.unmap(start, size)
        return 0

    def _mprotect(self, start: int, size: int, rights: int, *_: int) -> int:
        return 0 if self.memory.protect(start, size, rights) else _ENOMEM

    def _madvise(self, start: int, size: int, advice: int, *_: int) -> int:
        for mapping in self.memory.overlapping(start, start + size) if advice == 4 else ():
            if mapping.rights:
                low, high = max(start, mapping.start), min(start + size, mapping.end)
                self.unicorn.mem_write(low, bytes(high - low))
        return 0

    def _sigaction(self, signal: int, new: int, old: int, *_: int) -> int:
        before = self.actions.get(signal, Action())
        if new:
            self.actions[signal] = Action(*struct.unpack("<4Q", self.unicorn.mem_read(new, 32)))
        if old:
            self.unicorn.mem_write(old, before.pack())
        return 0

    def _sigprocmask(self, _how: int, _new: int, old: int, *_: int) -> int:
        if old:
            self.unicorn.mem_write(old, bytes(8))
        return 0

    def _sigaltstack(self, new: int, old: int, *_: int) -> int:
        before = struct.pack("<QiiQ", self.signal_stack[0], self.signal_stack[1], 0, self.signal_stack[2])
        if new:
            start, flags, _padding, size = struct.unpack("<QiiQ", self.unicorn.mem_read(new, 24))
            self.signal_stack = (start, flags, size)
        if old:
            self.unicorn.mem_write(old, before)
        return 0

    def _prctl(self, option: int, to: int, size: int, *_: int) -> int:
        if option != 0x41555856:  # PR_GET_AUXV
            return _EINVAL
        self.unicorn.mem_write(to, AUXILIARY[:size])
        return len(AUXILIARY)

    def _openat(self, _folder: int, path: int, *_: int) -> int:
        if bytes(self.unicorn.mem_read(path, 16)) != b"/proc/self/maps\0":
            return _ENOENT
        self._files[3] = "".join(mapping.line() for mapping in self.memory).encode()
        return 3

    def _read(self, fd: int, to: int, size: int, *_: int) -> int:
        if fd not in self._files:
            return _EBADF
        part, self._files[fd] = self._files[fd][:size], self._files[fd][size:]
        self.unicorn.mem_write(to, part)
        return len(part)

    def _close(self, fd: int, *_: int) -> int:
        return 0 if self._files.pop(fd, None) is not None else _EBADF

    def _clock(self, _clock: int, to: int, *_: int) -> int:
        self.unicorn.mem_write(to, bytes(16))
        return 0

    def _identity(self, *_: int) -> int:
        return _PID

    def _tgkill(self, _group: int, thread: int, signal: int, *_: int) -> int:
        return 0 if thread == _PID and not signal else -3  # ESRCH

    def _nothing(self, *_: int) -> int:
        return 0

    def _no_offset(self, *_: int) -> int:
        return _ESPIPE


_SERVICES: dict[int, Callable[..., int]] = {
    0: Kernel._read,
    3: Kernel._close,
    8: Kernel._no_offset,
    9: Kernel._mmap,
    10: Kernel._mprotect,
    11: Kernel._munmap,
    12: Kernel._nothing,  # brk
    13: Kernel._sigaction,
    14: Kernel._sigprocmask,
    24: Kernel._nothing,  # sched_yield
    28: Kernel._madvise,
    39: Kernel._identity,
    131: Kernel._sigaltstack,
    157: Kernel._prctl,
    186: Kernel._identity,
    228: Kernel._clock,
    234: Kernel._tgkill,
    257: Kernel._openat,
}
RT_SIGRETURN = 15
