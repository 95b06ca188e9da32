"""Places that are patched for the runtime's own sake, in every hardened file.

* The *start*: entry point of a program, first initialiser of a shared object.  Handlers are installed and memory is
  reserved there, before the program can lock itself in.
* The *stop*: last finaliser of a shared object.  It may be unloaded then, and handlers and memory are given back.
* *Observed* calls: what the file imports to change signal handling, so that the runtime knows what the program wants,
  to install a filter of system calls, after which the runtime makes none, and to limit the address space, of which it
  then gives most of its own back.
* Calls that *protect*: what the file imports to change the protection of memory.  Code may be about to change.
  The stub in the procedure linkage table is patched; its first instruction, `jmp [rip+slot]`, is 6 bytes long.
"""

from __future__ import annotations

from collections.abc import Iterator

from stemrw.documents.manifest import PatchKind
from stemrw.elf import (
    R_X86_64_64,
    R_X86_64_GLOB_DAT,
    R_X86_64_JUMP_SLOT,
    Elf,
    RelativePointers,
    bound_to,
    dynamic_symbols,
    relocations,
    symbol_table,
)
from stemrw.elf.constants import (
    DT_FINI,
    DT_FINI_ARRAY,
    DT_FINI_ARRAYSZ,
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
    "pthread_cancel", "pthread_setcanceltype", "prctl", "seccomp_load",
    "setrlimit", "setrlimit64", "prlimit", "prlimit64",
})  # fmt: skip
OBSERVED_STATIC = frozenset({
    "__libc_sigaction", "sigprocmask", "__sigprocmask", "pthread_sigmask", "__pthread_sigmask", "sigaltstack",
    "__sigaltstack", "prctl", "__prctl", "setrlimit", "setrlimit64", "__setrlimit", "__setrlimit64",
    "prlimit", "prlimit64", "__prlimit64",
})  # fmt: skip
"""In a static program: the functions through which the others of `OBSERVED` go."""

PROTECTING = frozenset({"mprotect", "pkey_mprotect"})
PROTECTING_STATIC = frozenset({"mprotect", "__mprotect", "pkey_mprotect"})

_LOADS_SECCOMP = b"\xbf\x3d\x01\x00\x00"  # mov edi, SYS_seccomp: the C library has no other way to make this call

_GLIBC = frozenset({"libc.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0", "libm.so.6"})

_STUB_SECTIONS = (".plt.sec", ".plt", ".plt.got", ".iplt")
_INDEX_LOAD, _INDEX_LOAD_SIZE = b"\x41\xbb", 6  # mov r11d, index of the slot: mold
_STUB_JUMPS = (b"\xff\x25", b"\xf2\xff\x25")  # jmp [rip+slot], and with the bnd prefix of old linkers


def start(elf: Elf) -> Target | None:
    """Where the file's own code begins to run; None where a shared object has no initialiser."""
    if elf.is_program:
        return Target(elf.entry, 0, "entry point") if elf.entry else None
    named = _named_by(elf, "DT_INIT", DT_INIT, ".init")
    return named or _first_of(elf, "DT_INIT_ARRAY", DT_INIT_ARRAY, DT_INIT_ARRAYSZ)


def stop(elf: Elf) -> Target | None:
    """What of a shared object runs last; None for a program, and where there is no finaliser."""
    if elf.is_program:
        return None
    named = _named_by(elf, "DT_FINI", DT_FINI, ".fini")
    return named or _first_of(elf, "DT_FINI_ARRAY", DT_FINI_ARRAY, DT_FINI_ARRAYSZ)


def _with_syscall(elf: Elf, names: frozenset[str]) -> frozenset[str]:
    """`syscall` too, where it makes the one call that matters; else it may be hot, and called by many threads."""
    return names | {"syscall"} if elf.data.find(_LOADS_SECCOMP) >= 0 else names


def kind_of(call: Target) -> PatchKind:
    """What the patch of one of the `observed` calls is for."""
    return "protect" if (call.name or "").removesuffix("@plt") in PROTECTING | PROTECTING_STATIC else "observe"


def observed(elf: Elf) -> tuple[list[Target], list[str]]:
    """Stubs of such imports by address, and the names of imports that are called in a way that cannot be seen."""
    symbols = dynamic_symbols(elf)
    slots: dict[int, str] = {}
    for name in _with_syscall(elf, OBSERVED | PROTECTING):
        for index in symbols.indexes(name):
            if not symbols[index].value:
                places = bound_to(elf, index, R_X86_64_JUMP_SLOT, R_X86_64_GLOB_DAT, R_X86_64_64)
                slots |= dict.fromkeys(places, name)
    seen = {address: slots[slot] for address, slot in _stubs(elf) if slot in slots}
    stubs = [Target(address, 0, f"{name}@plt") for address, name in seen.items()]
    unseen = sorted(set(slots.values()) - set(seen.values()))
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
                body += _INDEX_LOAD_SIZE if code.startswith(_INDEX_LOAD, body) else 0
                for jump in _STUB_JUMPS:
                    end = body + len(jump) + 4
                    if code.startswith(jump, body) and end <= len(code):
                        displacement = int.from_bytes(code[end - 4 : end], "little", signed=True)
                        yield section.address + at, section.address + end + displacement


def _static_functions(elf: Elf) -> list[Target]:
    found: dict[int, Target] = {}
    table = symbol_table(elf, SHT_SYMTAB)
    names = _with_syscall(elf, OBSERVED_STATIC | PROTECTING_STATIC)
    wanted = {place: name for name in names for place in table.places(name)}
    for address, size, place in table.functions():
        if size and place in wanted:
            found.setdefault(address, Target(address, size, wanted[place]))
    return list(found.values())


def _named_by(elf: Elf, name: str, tag: int, section_name: str) -> Target | None:
    """The function whose address a tag of the dynamic section holds."""
    address = elf.dynamic_value(tag)
    section = elf.section(section_name)
    size = section.size if section and section.address == address else 0
    return Target(address, size, name) if address else None


def _first_of(elf: Elf, name: str, tag: int, size_tag: int) -> Target | None:
    """The function in the first slot of an array: initialisers run in this order, finalisers the other way round."""
    slot = elf.dynamic_value(tag)
    function = _stored(elf, slot) if slot and elf.dynamic_value(size_tag) >= 8 else None
    return Target(function, 0, name) if function and elf.code(function, 1) else None


def _stored(elf: Elf, slot: int) -> int | None:
    """What a slot will hold (link-time address), by a relocation."""
    stored = RelativePointers(elf).at(slot)
    if stored is not None:
        return stored
    symbols = dynamic_symbols(elf)
    for place, _, symbol, addend in relocations(elf, R_X86_64_64):
        if place == slot and symbol < len(symbols):
            return symbols[symbol].value + addend
    return None


def uses_glibc(elf: Elf) -> bool:
    """Whether the threads that run this file's code have glibc's thread control block."""
    names = [*elf.dynamic.get(DT_NEEDED, []), *elf.dynamic.get(DT_SONAME, [])]
    if names:
        return any(elf.dynamic_string(index) in _GLIBC for index in names)
    return any(elf.data.find(text) >= 0 for text in (b"GNU C Library", b"GLIBC_TUNABLES"))
