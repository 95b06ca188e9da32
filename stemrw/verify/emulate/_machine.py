"""One process in Unicorn: the original file, or the hardened one with the whole runtime at work.

original                       hardened
─────────────────────────      ──────────────────────────────────────────────────────────────────────────
function runs                  entry → gate → context, checkpoint → code cache → leave
system call: the run ends      the runtime's: served (`_kernel`); the program's: the run ends
fault: the run ends            the runtime's handler gets a signal, as from a kernel; rescue, return
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unicorn import (
    UC_ARCH_X86,
    UC_HOOK_CODE,
    UC_HOOK_EDGE_GENERATED,
    UC_HOOK_INSN,
    UC_HOOK_INSN_INVALID,
    UC_HOOK_INTR,
    UC_HOOK_MEM_INVALID,
    UC_MEM_FETCH_PROT,
    UC_MEM_FETCH_UNMAPPED,
    UC_MEM_READ_UNMAPPED,
    UC_MEM_WRITE_UNMAPPED,
    UC_MODE_64,
    Uc,
    UcError,
    x86_const,
)

from stemrw.elf import Elf
from stemrw.runtime import RuntimeImage
from stemrw.verify.emulate import _imports
from stemrw.verify.emulate._kernel import RT_SIGRETURN, SI_KERNEL, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, Kernel
from stemrw.verify.emulate._memory import EXECUTE, READ, WRITE, Memory
from stemrw.verify.emulate._program import (
    ARENA,
    ARENA_BYTES,
    STACK,
    STACK_BYTES,
    TLS_AREA,
    Program,
)

RETURN = 0x7D20_0000_0000
"""Where functions under test return to."""
GENERAL = tuple("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split())
VECTORS = tuple(f"xmm{i}" for i in range(16))
_OTHERS = ("mxcsr", "fpcw", "fpsw")
_ID: Mapping[str, int] = {
    name: getattr(x86_const, f"UC_X86_REG_{name.upper()}") for name in (*GENERAL, *VECTORS, *_OTHERS)
}
_DIRECTION = 0x400
_RED_ZONE = 128
_MOST_STOPS, _MOST_SIGNALS = 5_000, 256
"""System calls and signals together, and signals, of one run, after which it counts as endless."""
_RT_TGSIGQUEUEINFO = 297
_ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
_CANONICAL_END = 1 << 47


@dataclass(frozen=True)
class Input:
    """Registers and memory (start → bytes) before a run; rsp included."""

    registers: Mapping[str, int]
    areas: Mapping[int, bytes]


@dataclass(frozen=True)
class Recovery:
    """What the runtime says of a rescue: struct recovery; `depth` is the number of checkpoints that are left."""

    pc: int
    region: int
    address: int
    fault_class: int
    depth: int


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `kind`: "returned", "system call", "fault" (the process would have died), "inner rescue" (a region inside of the one
    under test was rescued), "unsupported" (an instruction that Unicorn does not know) or "endless" (out of budget).
    `pc` is a run-time address, `number` a system call's or signal's, `address` where memory was accessed in vain.
    `registers` are the program's.
    """

    kind: str
    pc: int
    registers: Mapping[str, int]
    number: int = 0
    recovery: Recovery | None = None
    address: int = 0


@dataclass
class _Event:
    """Why Unicorn was stopped."""

    kind: str
    number: int = 0
    code: int = 0
    address: int = 0


@dataclass
class Machine:
    """A process.  `elf` is the file that runs in it; `image` is the runtime in it, at link-time address `payload`; None
    for the original."""

    program: Program
    elf: Elf
    image: RuntimeImage | None = None
    payload: int = 0
    displaced: Sequence[int] = ()
    """Where sequences of displaced instructions begin (link-time)."""
    budget: int = 200_000
    """Instructions after which a run counts as endless."""
    coverage: dict[int, int] = field(default_factory=dict)
    """Blocks that have run so far: address → bytes.  Of the original only."""

    def __post_init__(self) -> None:
        self.unicorn = Uc(UC_ARCH_X86, UC_MODE_64)
        self.unicorn.ctl_set_cpu_model(x86_const.UC_CPU_X86_HASWELL)  # has FSGSBASE
        self.memory = Memory(self.unicorn)
        self.kernel = Kernel(self.unicorn, self.memory)
        self._event: _Event | None = None
        self._recovery: Recovery | None = None
        self._pending = self._delivered = 0
        self._dead = b""
        self._load()
        self._hook()

    # the process

    def _load(self) -> None:
        for piece in self.program.pieces(self.elf):
            if piece.end > piece.start:
                path = "/hardened" if self.image else "/original"
                self.memory.map(piece.start, piece.end - piece.start, piece.rights, path, piece.offset)
            self.unicorn.mem_write(piece.address, piece.content)
        self.relocate()
        code = self.program.imports.code
        self.memory.map(_imports.CODE, len(code), READ | EXECUTE, "/imports")
        self.unicorn.mem_write(_imports.CODE, code)
        self.memory.map(RETURN, 16, READ | EXECUTE, "/caller")
        self.unicorn.mem_write(RETURN, b"\x0f\x0b" * 8)
        for start, size in (
            (_imports.CALLS, _imports.CALLS_BYTES), (ARENA, ARENA_BYTES), (STACK, STACK_BYTES),
            (TLS_AREA, self.program.tls_bytes),
        ):  # fmt: skip
            self.memory.map(start, size, READ | WRITE)
        self.unicorn.reg_write(x86_const.UC_X86_REG_FS_BASE, self.program.thread_block)
        self.unicorn.reg_write(x86_const.UC_X86_REG_CR4, self.unicorn.reg_read(x86_const.UC_X86_REG_CR4) | 1 << 16)

    def relocate(self) -> None:
        """Write the program's relocated words."""
        for address, value in self.program.words.items():
            self.unicorn.mem_write(address, struct.pack("<Q", value))

    def _hook(self) -> None:
        add = self.unicorn.hook_add
        add(UC_HOOK_INSN, self._on_syscall, None, 1, 0, x86_const.UC_X86_INS_SYSCALL)
        add(UC_HOOK_MEM_INVALID, self._on_memory)
        add(UC_HOOK_INSN_INVALID, self._on_invalid)
        add(UC_HOOK_INTR, self._on_interrupt)
        if self.image is None:
            add(UC_HOOK_EDGE_GENERATED, self._on_edge)
        else:
            for name, callback in (("before_syscall", self._on_service), ("record_recovery", self._on_recovery)):
                at = self._runtime + self.image.symbols[name]
                add(UC_HOOK_CODE, callback, None, at, at)
            for at in (*self._exits(), *(address + self.program.bias for address in self.displaced)):
                add(UC_HOOK_CODE, self._on_code_of_program, None, at, at)

    def _exits(self) -> Iterator[int]:
        """Where the runtime's assembly jumps into the code cache, to begin a region or to go on in it."""
        from iced_x86 import Decoder, FlowControl, Register

        assert self.image is not None
        first, end = self.image.symbols["gate_region"], self.image.symbols["signal_return"]
        resume = self.image.structs["context"].fields["resume"][0]
        for instruction in Decoder(64, self.image.data[first:end], ip=self._runtime + first):
            through_context = instruction.memory_segment == Register.GS and instruction.memory_displacement == resume
            if instruction.flow_control == FlowControl.INDIRECT_BRANCH and through_context:
                yield instruction.ip

    @property
    def _runtime(self) -> int:
        """Where the runtime image lies."""
        return self.program.bias + self.payload

    # a run

    def run(self, entry: int, given: Input) -> Outcome:
        """Run from `entry` with these registers and this memory until it returns to RETURN, or ends otherwise."""
        for start, content in given.areas.items():
            self.unicorn.mem_write(start, content)
        self._dead = given.areas[STACK][: max(given.registers["rsp"] - _RED_ZONE - STACK, 0)]
        for name, value in (("mxcsr", 0x1F80), ("fpcw", 0x37F), ("fpsw", 0)):
            self.unicorn.reg_write(_ID[name], value)
        for name, value in given.registers.items():
            self.unicorn.reg_write(_ID[name], value)
        self.unicorn.reg_write(x86_const.UC_X86_REG_EFLAGS, 0x202)
        self._recovery, self._pending = None, 0
        at = entry
        self._delivered = 0
        for _ in range(_MOST_STOPS):
            event = self._continue(at)
            pc = int(self.unicorn.reg_read(x86_const.UC_X86_REG_RIP))
            if event is None:
                return self._outcome("returned" if pc == RETURN else "endless", pc)
            ended = self._handle(event, pc)
            if ended is not None:
                return ended
            at = int(self.unicorn.reg_read(x86_const.UC_X86_REG_RIP))
        return self._outcome("endless", at)

    def _continue(self, at: int) -> _Event | None:
        """Let Unicorn run; gives what a hook has noted."""
        self._event = None
        try:
            self.unicorn.emu_start(at, RETURN, count=self.budget)
        except UcError:
            return self._event or _Event("unsupported")
        return self._event

    def read(self, start: int, size: int) -> bytes:
        return bytes(self.unicorn.mem_read(start, size))

    def write(self, start: int, data: bytes) -> None:
        self.unicorn.mem_write(start, data)

    def _outcome(self, kind: str, pc: int, number: int = 0, address: int = 0) -> Outcome:
        return Outcome(kind, pc, self._registers(), number, self._recovery, address)

    def _registers(self) -> dict[str, int]:
        values = {name: int(self.unicorn.reg_read(register)) for name, register in _ID.items()}
        return values | {"df": self.unicorn.reg_read(x86_const.UC_X86_REG_EFLAGS) & _DIRECTION}

    def _handle(self, event: _Event, pc: int) -> Outcome | None:
        if event.kind == "system call":
            return self._system_call(pc)
        if event.kind == "fault":
            if event.number == SIGTRAP:
                pc -= 1
            self._delivered += 1
            if self._delivered > _MOST_SIGNALS:
                return self._outcome("endless", pc)
            if self.kernel.deliver(event.number, event.code, event.address):
                return None
            return self._outcome("fault", pc, event.number, event.address)
        if event.kind == "service":
            return self._program_call()
        return self._outcome(event.kind, pc)

    def _system_call(self, pc: int) -> Outcome | None:
        number = self.unicorn.reg_read(x86_const.UC_X86_REG_RAX)
        if not self.image or not self._runtime <= pc < self._runtime + len(self.image.data):
            return self._outcome("system call", pc - 2, number)
        if number == RT_SIGRETURN:
            self.kernel.return_from_handler()
            if self._pending:
                after = self.unicorn.reg_read(x86_const.UC_X86_REG_RIP)
                return self._outcome("fault", after - (self._pending == SIGTRAP), self._pending)
            return None
        arguments = tuple(int(self.unicorn.reg_read(_ID[name])) for name in _ARGUMENTS)
        if number == _RT_TGSIGQUEUEINFO:
            self._pending = arguments[2]
            result = 0
        else:
            result = self.kernel.call(number, arguments)
        self.unicorn.reg_write(x86_const.UC_X86_REG_RAX, result & (1 << 64) - 1)
        self.unicorn.reg_write(x86_const.UC_X86_REG_RCX, pc)
        return None

    def _program_call(self) -> Outcome:
        """The program wants a system call from within a region; its registers lie in the context."""
        assert self.image is not None
        context, layout = self._context(), self.image.structs["context"].fields
        raw = self.read(context + layout["registers"][0], 8 * len(GENERAL))
        registers = self._registers() | dict(zip(GENERAL, struct.unpack("<16Q", raw), strict=True))
        target = self._word(context + layout["target"][0])
        return Outcome("system call", target - 2, registers, registers["rax"], self._recovery)

    def _context(self) -> int:
        return int(self.unicorn.reg_read(x86_const.UC_X86_REG_RDI))

    def _word(self, address: int, size: int = 8) -> int:
        return int.from_bytes(self.read(address, size), "little")

    # hooks: note what happened, and stop

    def _stop(self, event: _Event) -> None:
        self._event = event
        self.unicorn.emu_stop()

    def _on_syscall(self, *_: Any) -> None:
        self._stop(_Event("system call"))

    def _on_memory(self, _unicorn: Uc, access: int, address: int, *_: Any) -> bool:
        unmapped = access in (UC_MEM_READ_UNMAPPED, UC_MEM_WRITE_UNMAPPED, UC_MEM_FETCH_UNMAPPED)
        fetch = access in (UC_MEM_FETCH_UNMAPPED, UC_MEM_FETCH_PROT)
        if address >= _CANONICAL_END and not fetch:
            self._event = _Event("fault", SIGSEGV, SI_KERNEL, 0)
        else:
            self._event = _Event("fault", SIGSEGV, 1 if unmapped else 2, address)
        return False

    def _on_invalid(self, *_: Any) -> bool:
        pc = self.unicorn.reg_read(x86_const.UC_X86_REG_RIP)
        self._event = _Event("fault" if _is_undefined(self.read(pc, 15), pc) else "unsupported", SIGILL, 2, pc)
        return False

    def _on_interrupt(self, _unicorn: Uc, number: int, *_: Any) -> None:
        pc = self.unicorn.reg_read(x86_const.UC_X86_REG_RIP)
        signal, code = {0: (SIGFPE, 1), 3: (SIGTRAP, SI_KERNEL), 6: (SIGILL, 2)}.get(number, (SIGSEGV, SI_KERNEL))
        self._stop(_Event("fault", signal, code, pc if signal in (SIGFPE, SIGILL) else 0))

    def _on_code_of_program(self, *_: Any) -> None:
        """The function begins: what the gate has left below the stack is made what the original finds there.

        It is nobody's; but a function that reads variables before it writes them would do other things for it.
        """
        rsp = self.unicorn.reg_read(x86_const.UC_X86_REG_RSP)
        if self._dead and rsp == STACK + len(self._dead) + _RED_ZONE:
            self.unicorn.mem_write(STACK, self._dead)
        self._dead = b""

    def _on_service(self, *_: Any) -> None:
        self._stop(_Event("service"))

    def _on_recovery(self, *_: Any) -> None:
        assert self.image is not None
        context, layout = self._context(), self.image.structs["context"].fields
        mark = int(self.unicorn.reg_read(x86_const.UC_X86_REG_RSI))
        patch = self._word(mark + self.image.structs["mark"].fields["patch"][0])
        self._recovery = Recovery(
            pc=self._word(context + layout["fault_pc"][0]),
            region=self._word(patch + self.image.structs["patch"].fields["function"][0]) + self.program.bias,
            address=self._word(context + layout["fault_address"][0]),
            fault_class=self._word(context + layout["fault_class"][0], 4),
            depth=self._word(context + layout["depth"][0]),
        )
        if self._recovery.depth:
            self._stop(_Event("inner rescue"))

    def _on_edge(self, _unicorn: Uc, block: Any, before: Any, *_: Any) -> None:
        """Once for each way into a block, when it is taken for the first time."""
        self.coverage[block.pc] = block.size
        self.coverage[before.pc] = before.size


def _is_undefined(code: bytes, pc: int) -> bool:
    """Whether an instruction at which Unicorn gave up would trap on every processor too."""
    from iced_x86 import Code, Decoder

    instruction = Decoder(64, code, ip=pc).decode()
    return instruction.is_invalid or instruction.code in (Code.UD0, Code.UD1_R32_RM32, Code.UD1_R64_RM64, Code.UD2)
