"""Places that are patched for the runtime's own sake, in every hardened file.

* The *start*: entry point of a program, first initialiser of a shared object.  Handlers are installed and memory is
  reserved there, before the program can lock itself in.
* *Observed* calls: what the file imports to change signal handling, so that the runtime knows what the program wants.
  The stub in the procedure linkage table is patched; its first instruction, `jmp [rip+slot]`, is 6 bytes long.
"""

from __future__ import annotations

from collections.abc import Iterator

from stemrw.elf import (
    R_X86_64_64,
    R_X86_64_GLOB_DAT,
    R_X86_64_JUMP_SLOT,
    R_X86_64_RELATIVE,
    Elf,
    SymbolTable,
    dynamic_symbols,
    relocations,
    relr_places,
)
from stemrw.elf.constants import (
    DT_INIT,
    DT_INIT_ARRAY,
    DT_INIT_ARRAYSZ,
    DT_NEEDED,
    DT_SONAME,
    SHT_SYMTAB,
)
from stemrw.rewrite._entry import ENDBR64, Target

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

_STUB_SECTIONS = (".plt.sec", ".plt", ".plt.got", ".iplt")
_STUB_JUMPS = (b"\xff\x25", b"\xf2\xff\x25")  # jmp [rip+slot], and with the bnd prefix of old linkers


def start(elf: Elf) -> Target | None:
    """Where the file's own code begins to run; None where a shared object has no initialiser."""
    if elf.is_program:
        return Target(elf.entry, 0, "entry point") if elf.entry else None
    init = elf.dynamic_value(DT_INIT)
    if init:
        section = elf.section(".init")
        size = section.size if section and section.address == init else 0
        return Target(init, size, "DT_INIT")
    first = _first_initialiser(elf)
    return Target(first, 0, "DT_INIT_ARRAY") if first and elf.code(first, 1) else None


def observed(elf: Elf) -> tuple[list[Target], list[str]]:
    """Stubs of observed imports by address, and the names of imports that are called in a way that cannot be seen."""
    symbols = dynamic_symbols(elf)
    slots: dict[int, str] = {}
    for place, _, index, _ in relocations(elf, R_X86_64_JUMP_SLOT, R_X86_64_GLOB_DAT, R_X86_64_64):
        if 0 < index < len(symbols):
            symbol = symbols[index]
            if symbol.name in OBSERVED and not symbol.value:
                slots[place] = symbol.name
    stubs = [Target(address, 0, f"{slots[slot]}@plt") for address, slot in _stubs(elf) if slot in slots]
    seen = {stub.name.removesuffix("@plt") for stub in stubs}
    unseen = sorted(set(slots.values()) - seen)
    if not elf.dynamic:
        stubs = _static_functions(elf)
    return sorted(stubs, key=lambda stub: stub.address), unseen


def _stubs(elf: Elf) -> Iterator[tuple[int, int]]:
    """Entry address and slot of every stub of the procedure linkage tables."""
    for section in elf.sections:
        if section.name in _STUB_SECTIONS:
            code = elf.code(section.address, section.size)
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
        if section.kind == SHT_SYMTAB and section.link < len(elf.sections):
            table = SymbolTable(elf.section_bytes(section), elf.section_bytes(elf.sections[section.link]))
            wanted = {place: name for name in OBSERVED_STATIC for place in table.places(name)}
            for address, size, place in table.functions():
                if size and place in wanted:
                    found.setdefault(address, Target(address, size, wanted[place]))
    return list(found.values())


def _first_initialiser(elf: Elf) -> int | None:
    """What the first slot of DT_INIT_ARRAY will hold (link-time): by a relocation, or by what stands there (RELR)."""
    slot = elf.dynamic_value(DT_INIT_ARRAY)
    if not slot or elf.dynamic_value(DT_INIT_ARRAYSZ) < 8:
        return None
    for place, kind, symbol, addend in relocations(elf, R_X86_64_RELATIVE, R_X86_64_64):
        if place == slot and kind == R_X86_64_RELATIVE:
            return addend
        if place == slot and kind == R_X86_64_64:
            symbols = dynamic_symbols(elf)
            return symbols[symbol].value + addend if symbol < len(symbols) else None
    return elf.word(slot) or None if slot in relr_places(elf) else None


def uses_glibc(elf: Elf) -> bool:
    """Whether the threads that run this file's code have glibc's thread control block."""
    names = [*elf.dynamic.get(DT_NEEDED, []), *elf.dynamic.get(DT_SONAME, [])]
    if names:
        return any(elf.dynamic_string(index) in _GLIBC for index in names)
    return any(elf.data.find(text) >= 0 for text in (b"GNU C Library", b"GLIBC_TUNABLES"))
