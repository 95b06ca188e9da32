"""Places that are patched for the runtime's own sake, in every hardened file.

* The *start*: entry point of a program, first initialiser of a shared object.  Handlers are installed and memory is
  reserved there, before the program can lock itself in.
* *Observed* calls: what the file imports to change signal handling, so that the runtime knows what the program wants.
  The stub in the procedure linkage table is patched; its first instruction, `jmp [rip+slot]`, is 6 bytes long.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from stemrw.rewrite._elf import (
    DT_INIT,
    DT_INIT_ARRAY,
    DT_INIT_ARRAYSZ,
    DT_NEEDED,
    DT_RELR,
    DT_RELRSZ,
    DT_SONAME,
    SHT_SYMTAB,
    Elf,
)
from stemrw.rewrite._entry import ENDBR64

OBSERVED = frozenset({
    "sigaction", "__sigaction", "signal", "__sysv_signal", "sysv_signal", "bsd_signal", "ssignal", "sigset",
    "sigignore", "siginterrupt", "sigprocmask", "pthread_sigmask", "sigaltstack",
})  # fmt: skip
OBSERVED_STATIC = frozenset({
    "__libc_sigaction", "sigprocmask", "__sigprocmask", "pthread_sigmask", "__pthread_sigmask", "sigaltstack",
    "__sigaltstack",
})  # fmt: skip
"""In a static program: the functions through which the others of `OBSERVED` go."""

_GLIBC = frozenset({"libc.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0", "libm.so.6"})

R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, R_X86_64_RELATIVE = 1, 6, 7, 8
_STUB_SECTIONS = (".plt.sec", ".plt", ".plt.got", ".iplt")
_STUB_JUMPS = (b"\xff\x25", b"\xf2\xff\x25")  # jmp [rip+slot], and with the bnd prefix of old linkers


@dataclass(frozen=True)
class Target:
    """A function to patch: entry address, size in bytes (0: unknown) and a name for people."""

    address: int
    size: int
    name: str


def start(elf: Elf) -> Target | None:
    """Where the file's own code begins to run; None where a shared object has no initialiser."""
    if elf.is_program:
        return Target(elf.entry, 0, "entry point") if elf.entry else None
    init = elf.dynamic_value(DT_INIT)
    if init:
        section = elf.section_names().get(".init")
        size = section.file_size if section and section.address == init else 0
        return Target(init, size, "DT_INIT")
    first = _first_initialiser(elf)
    return Target(first, 0, "DT_INIT_ARRAY") if first and elf.code(first, 1) else None


def observed(elf: Elf) -> tuple[list[Target], list[str]]:
    """Stubs of observed imports by address, and the names of imports that are called in a way that cannot be seen."""
    slots: dict[int, str] = {}
    for address, kind, symbol, _ in elf.relocations():
        if kind in (R_X86_64_JUMP_SLOT, R_X86_64_GLOB_DAT, R_X86_64_64) and symbol:
            name, value = elf.dynamic_symbol(symbol)
            if name in OBSERVED and not value:
                slots[address] = name
    stubs = [Target(address, 0, f"{slots[slot]}@plt") for address, slot in _stubs(elf) if slot in slots]
    seen = {stub.name.removesuffix("@plt") for stub in stubs}
    unseen = sorted(set(slots.values()) - seen)
    if not elf.dynamic:
        stubs = _static_functions(elf)
    return sorted(stubs, key=lambda stub: stub.address), unseen


def _stubs(elf: Elf) -> Iterator[tuple[int, int]]:
    """Entry address and slot of every stub of the procedure linkage tables."""
    names = elf.section_names()
    for name in _STUB_SECTIONS:
        if name in names:
            section = names[name]
            code = elf.code(section.address, section.file_size)
            for at in range(0, len(code) - 7, 8):
                body = at + len(ENDBR64) if code.startswith(ENDBR64, at) else at
                for jump in _STUB_JUMPS:
                    end = body + len(jump) + 4
                    if code.startswith(jump, body) and end <= len(code):
                        displacement = int.from_bytes(code[end - 4 : end], "little", signed=True)
                        yield section.address + at, section.address + end + displacement


def _static_functions(elf: Elf) -> list[Target]:
    found: dict[int, Target] = {}
    for section in elf.sections:
        if section.type == SHT_SYMTAB and section.entry_size == 24:
            names = elf.sections[section.link].offset
            table = elf.data[section.offset : section.offset + section.file_size // 24 * 24]
            for name, info, _, _, value, size in struct.iter_unpack("<IBBHQQ", table):
                if info & 15 == 2 and size and elf.string(names + name) in OBSERVED_STATIC:
                    found.setdefault(value, Target(value, size, elf.string(names + name)))
    return list(found.values())


def _first_initialiser(elf: Elf) -> int | None:
    """What the first slot of DT_INIT_ARRAY will hold (link-time): by a relocation, or by what stands there (RELR)."""
    slot = elf.dynamic_value(DT_INIT_ARRAY)
    if not slot or (elf.dynamic_value(DT_INIT_ARRAYSZ) or 0) < 8:
        return None
    for address, kind, symbol, addend in elf.relocations():
        if address == slot and kind == R_X86_64_RELATIVE:
            return addend
        if address == slot and kind == R_X86_64_64:
            return elf.dynamic_symbol(symbol)[1] + addend or None
    value = int.from_bytes(elf.read(slot, 8), "little")
    return value or None if slot in _relr(elf) else None


def _relr(elf: Elf) -> set[int]:
    """Addresses relocated by DT_RELR: a word of address, then bitmaps of 63 words each (generic ABI, 2019)."""
    found: set[int] = set()
    base = 0
    content = elf.read(elf.dynamic_value(DT_RELR) or 0, elf.dynamic_value(DT_RELRSZ) or 0)
    for (entry,) in struct.iter_unpack("<Q", content[: len(content) & -8]):
        if entry & 1:
            found.update(base + 8 * bit for bit in range(63) if entry >> (bit + 1) & 1)
            base += 63 * 8
        else:
            found.add(entry)
            base = entry + 8
    return found


def uses_glibc(elf: Elf) -> bool:
    """Whether the threads that run this file's code have glibc's thread control block."""
    needed = [*elf.dynamic.get(DT_NEEDED, []), *_soname(elf)]
    if needed:
        return any(elf.dynamic_string(index) in _GLIBC for index in needed)
    return b"GNU C Library" in elf.data or b"GLIBC_TUNABLES" in elf.data


def _soname(elf: Elf) -> list[int]:
    return elf.dynamic.get(DT_SONAME, [])
