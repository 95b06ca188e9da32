"""Generated inputs: the same for the same function on every machine.

No types are known, so words are drawn from what arguments and data usually are: nothing, small numbers, pointers into
an arena of such words, text, and now and then anything at all.  Half of the inputs find the file's zero-initialised
data filled like that too, as if the program had run for a while.
"""

from __future__ import annotations

import struct
from random import Random

from stemrw.verify.emulate._imports import CALLS, calls_area
from stemrw.verify.emulate._kernel import AUXILIARY
from stemrw.verify.emulate._machine import GENERAL, RETURN, VECTORS, Input
from stemrw.verify.emulate._program import ARENA, ARENA_BYTES, STACK, STACK_BYTES, TLS_AREA, Program

_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_DEPTH = 96
"""Bytes by which each run's stack begins above the last one's: to the runtime, a run that did not return was left by a
longjmp."""
_LOWEST_ENTRY = STACK + 3 * STACK_BYTES // 4
_FILLED = 1 << 20
"""Bytes of .bss that are filled at most."""


class Inputs:
    """Inputs for one process after the other run of it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._writable = program.writable()
        self._thread = program.thread_area()
        self._runs = 0

    def next(self, function: int, number: int, *, start: bool = False) -> Input:
        """Input `number` of a function (link-time address).  `start`: as the kernel or the loader calls it."""
        random = Random(function << 16 | number)
        areas = {ARENA: _words(random, ARENA_BYTES), CALLS: calls_area([_word(random) for _ in range(64)])}
        areas[TLS_AREA] = self._thread
        for address, content in self._writable:
            areas[address] = content if number % 2 == 0 else self._used(random, address, content)
        self._runs += 1
        rsp = (_LOWEST_ENTRY + self._runs % 300 * _DEPTH & -16) - 8
        registers = {name: random.getrandbits(64) for name in GENERAL}
        registers |= {name: _word(random) for name in _ARGUMENTS}
        registers |= {name: int.from_bytes(struct.pack("<d", random.uniform(-1e6, 1e6)), "little") for name in VECTORS}
        registers["rax"] = random.randrange(9)  # of a variadic function: how many vector registers hold arguments
        registers["rsp"] = rsp
        stack = bytearray(_words(random, STACK_BYTES))
        struct.pack_into("<Q", stack, rsp - STACK, RETURN)
        if start:
            self._as_started(stack, registers)
        areas[STACK] = bytes(stack)
        return Input(registers, areas)

    def _as_started(self, stack: bytearray, registers: dict[str, int]) -> None:
        """argc, argv, envp and the auxiliary vector: on the stack of a program, in registers for an initialiser."""
        program = self._program.elf.is_program
        argc_at = registers["rsp"] + 8
        name = STACK + STACK_BYTES - 16
        block = struct.pack("<4Q", 1, name, 0, 0) + AUXILIARY
        stack[argc_at - STACK : argc_at - STACK + len(block)] = block
        stack[name - STACK : name - STACK + 8] = b"program\0"
        if program:
            registers["rsp"] = argc_at
            registers["rdx"] = 0  # nothing to be called at exit
        else:
            registers |= {"rdi": 1, "rsi": argc_at + 8, "rdx": argc_at + 24}

    def _used(self, random: Random, address: int, content: bytes) -> bytes:
        """A writable segment whose .bss is filled."""
        load = next(load for load in self._program.elf.loads if load.address + self._program.bias == address)
        begin = load.file_size + 7 & -8
        size = min(load.memory_size - begin, _FILLED) & -8
        if size <= 0:
            return content
        return content[:begin] + _words(random, size) + content[begin + size :]


def _word(random: Random) -> int:
    kind = random.random()
    if kind < 0.15:
        return 0
    if kind < 0.35:
        return random.randrange(-1, 65) & (1 << 64) - 1
    if kind < 0.85:
        return ARENA + random.randrange(ARENA_BYTES // 2) & -8
    if kind < 0.95:
        return int.from_bytes(bytes(random.choice(b"abcxyz019 .,-/\0\0") for _ in range(8)), "little")
    return random.getrandbits(64)


def _words(random: Random, size: int) -> bytes:
    """`size` bytes of such words; a few hundred different ones are enough."""
    some = struct.pack("<512Q", *(_word(random) for _ in range(512)))
    turned = random.randrange(512) * 8
    return ((some[turned:] + some[:turned]) * (size // len(some) + 1))[:size]
