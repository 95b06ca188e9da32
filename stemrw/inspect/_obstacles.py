"""What stands in the way of patching a file, or takes something from what patching gives.

A row of the table is an `Obstacle`: how bad it is, what was found, what to do.  Whether a file can be patched at all is
not decided here but by the rewriter itself (`_inspect`).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from stemrw.documents.inspection import Build, Obstacle, Severity
from stemrw.elf import Elf
from stemrw.elf.constants import DT_SONAME, PF_W, PF_X, PT_GNU_EH_FRAME, SHT_NOBITS
from stemrw.image import Image
from stemrw.inspect._file import FileFacts

_FENCES = b"\x0f\xae"  # the opcode of wrgsbase, among others
_ARCH_SET_GS = b"\x01\x10\x00\x00"
_MOV_EDI_OR_ESI = (0xBF, 0xBE)
_ARCH_PRCTL = 158
_DT_TEXTREL, _DT_FLAGS, _DF_TEXTREL = 22, 30, 4
_SIGNATURES = (".sig", ".signature", ".sigstore", ".digest", ".checksum", ".pgp_sig", ".upd_info")
_MODULE_SIGNATURE = b"~Module signature appended~\n"

_TABLE: dict[str, tuple[Severity, str, str]] = {
    "refused": ("blocks", "{}", "{}"),
    "no-function": (
        "blocks",
        "no function was found whose entry can be patched",
        "--functions lists all that were found, with the reasons",
    ),
    "calls-unobserved": (
        "degrades",
        "{}: called through a pointer, which the runtime does not see",
        "a handler installed that way may replace the runtime's (no fault is survived); patched code is not noticed",
    ),
    "no-room-at-ends": (
        "degrades",
        "{}: no jump to the runtime fits in there",
        "without DT_FINI do not unload the hardened library; without DT_INIT the runtime begins with the first region",
    ),
    "signals-unobserved": (
        "degrades",
        "it is static and has no symbols: its own calls of sigaction and sigprocmask cannot be found",
        "keep the symbol table or link dynamically, if it installs handlers of its own",
    ),
    "signed": (
        "degrades",
        "it is signed for the kernel ({}): where that is enforced, a changed file does not run",
        "sign the hardened file again (evmctl)",
    ),
    "verity": (
        "degrades",
        "fs-verity protects it: the hardened copy is another file, without it",
        "enable fs-verity on the hardened file, where its digest is checked",
    ),
    "self-check": (
        "degrades",
        "there is a checksum of it, by which it may check itself: {}",
        "make the checksum again for the hardened file",
    ),
    "signature-inside": (
        "degrades",
        "a signature or checksum lies in it: {}",
        "make it again for the hardened file, if something checks it",
    ),
    "appended-data": (
        "degrades",
        "{:,} bytes stand behind its ELF part: a program that looks for them at its end does not find them there",
        "test the hardened file; bundles (self-extracting archives, single-file applications) are built like that",
    ),
    "uses-gs": (
        "degrades",
        "it sets the gs base itself, at {:#x}: threads that have done so are not emulated",
        "faults in such threads are not survived",
    ),
    "writable-code": (
        "degrades",
        "a segment is writable and executable: its code may change while it runs",
        "choose regions in code that does not",
    ),
    "text-relocations": (
        "degrades",
        "the loader changes its code (text relocations), and could change a patched entry",
        "link it with position-independent code (-fPIC)",
    ),
    "packed": ("degrades", "it is packed (UPX): what runs is not what lies in the file", "unpack it first (upx -d)"),
    "loader": (
        "degrades",
        "it is the dynamic loader: it runs before anything is prepared",
        "harden the program instead",
    ),
    "other-libc": (
        "degrades",
        "neither glibc nor musl is recognised: it is taken to have several threads",
        "what a region does before it takes a lock or allocates is undone, the rest is not",
    ),
    "no-unwind-information": (
        "degrades",
        "it has no unwind information: only functions with a symbol are found, and backtraces end in it",
        "build it with -fasynchronous-unwind-tables",
    ),
    "shadow-stack": (
        "note",
        "it is fit for a shadow stack: where one is active, its regions run natively and faults are not survived",
        "shadow stacks are off unless glibc is told otherwise (glibc.cpu.x86_shstk)",
    ),
    "immutable": ("note", "it is immutable (chattr +i)", "write the hardened file elsewhere, or lift that first"),
    "no-section-headers": (
        "note",
        "it has no section headers: stubs of imported functions are not found",
        "signal calls are then only seen inside regions",
    ),
    "stripped": (
        "note",
        "it is stripped: functions have names only where they are exported",
        "install its debug symbols, or keep to addresses",
    ),
    "privileged": (
        "note",
        "it runs with raised privileges ({}): STEMRW_EVENTS is ignored",
        "name the events file with patch --events, and patch as root so that the rights are kept",
    ),
}
"""Code → severity, what was found, what to do; the braces are filled in."""


def obstacle(code: str, *values: object) -> Obstacle:
    """A row of the table, filled in: `values` first for what was found, the rest for what to do."""
    severity, what, advice = _TABLE[code]
    used = what.count("{")
    return Obstacle(
        code=code, severity=severity, what=what.format(*values[:used]), advice=advice.format(*values[used:])
    )


def codes() -> tuple[str, ...]:
    """Every code that an obstacle can have."""
    return tuple(_TABLE)


def obstacles(image: Image, build: Build, facts: FileFacts) -> Iterator[Obstacle]:
    """Everything but what the rewriter is asked."""
    yield from _protection(image.elf, facts)
    yield from _code(image, build)
    yield from _information(image.elf, build)
    if facts.mode & (stat.S_ISUID | stat.S_ISGID):
        yield obstacle("privileged", "set-user-ID or set-group-ID")
    elif "security.capability" in facts.attributes:
        yield obstacle("privileged", "file capabilities")


def _protection(elf: Elf, facts: FileFacts) -> Iterator[Obstacle]:
    """Whatever looks at the file's bytes."""
    signed = [name for name in facts.attributes if name in ("security.ima", "security.evm")]
    if signed:
        yield obstacle("signed", ", ".join(signed))
    if facts.verity:
        yield obstacle("verity")
    if facts.immutable:
        yield obstacle("immutable")
    if facts.checksum is not None:
        yield obstacle("self-check", facts.checksum)
    inside = [section.name for section in elf.sections if section.name in _SIGNATURES]
    if elf.data[-len(_MODULE_SIGNATURE) :] == _MODULE_SIGNATURE:
        inside.append("at its end")
    if inside:
        yield obstacle("signature-inside", ", ".join(inside))
    if len(elf.data) > _end(elf):
        yield obstacle("appended-data", len(elf.data) - _end(elf))


def _code(image: Image, build: Build) -> Iterator[Obstacle]:
    """What the code does that the runtime does too, or does not expect."""
    elf = image.elf
    place = _sets_gs(image)
    if place is not None:
        yield obstacle("uses-gs", place)
    if any(load.flags & PF_W and load.flags & PF_X for load in elf.loads):
        yield obstacle("writable-code")
    if _DT_TEXTREL in elf.dynamic or elf.dynamic_value(_DT_FLAGS) & _DF_TEXTREL:
        yield obstacle("text-relocations")
    if elf.data[: 1 << 12].find(b"UPX!") >= 0:
        yield obstacle("packed")
    soname = elf.dynamic_string(elf.dynamic_value(DT_SONAME)) if DT_SONAME in elf.dynamic else ""
    if soname.startswith(("ld-linux", "ld-musl")):
        yield obstacle("loader")
    if "shstk" in build.control_flow:
        yield obstacle("shadow-stack")


def _information(elf: Elf, build: Build) -> Iterator[Obstacle]:
    """What is not known of it."""
    if build.linking == "static" and not build.symbols:
        yield obstacle("signals-unobserved")
    if build.kind == "program" and build.libc not in ("glibc", "musl"):
        yield obstacle("other-libc")
    unwind = any(segment.kind == PT_GNU_EH_FRAME for segment in elf.segments) or elf.section(".eh_frame") is not None
    if not unwind:
        yield obstacle("no-unwind-information")
    if not elf.sections:
        yield obstacle("no-section-headers")
    if not build.symbols and build.debug != "separate":
        yield obstacle("stripped")


def _end(elf: Elf) -> int:
    """The first file offset that no header speaks of."""
    ends = [segment.offset + segment.file_size for segment in elf.segments]
    ends += [section.offset + section.size for section in elf.sections if section.kind != SHT_NOBITS]
    if elf.sections:
        ends.append(elf.section_table + len(elf.sections) * len(elf.sections[0].pack()))
    return max(ends)


def _sets_gs(image: Image) -> int | None:
    """Where the file's code sets its own gs base: it is zero until somebody does, so who uses gs has to."""
    for segment in image.elf.code_segments:
        code = image.elf.read(segment.address, segment.file_size)
        for at in _found(code, _FENCES):
            if code[at + 2 : at + 3] >= b"\xd8" and code[at + 2] <= 0xDF:  # register form, /3
                place = _write_gs_base(image, segment.address + at)
                if place is not None:
                    return place
        for at in _found(code, _ARCH_SET_GS):
            place = segment.address + at - 1
            if at and code[at - 1] in _MOV_EDI_OR_ESI and _calls_arch_prctl(image, place):
                return place
    return None


def _found(code: bytes, pattern: bytes) -> Iterator[int]:
    at = code.find(pattern)
    while at >= 0:
        yield at
        at = code.find(pattern, at + 1)


def _write_gs_base(image: Image, opcode: int) -> int | None:
    """The instruction with this opcode, if it is one and writes the gs base: its prefixes begin one or two lower."""
    function = image.function_at(opcode)
    for place in (opcode - 1, opcode - 2):
        instruction = image.instruction_at(function, place) if function is not None else None
        if instruction is not None and instruction.mnemonic == "wrgsbase":
            return place
    return None


def _calls_arch_prctl(image: Image, place: int) -> bool:
    """Whether the function there makes the system call, by its number or by the C library's function."""
    function = image.function_at(place)
    if function is None:
        return False
    for instruction in image.body(function):
        number = instruction.mnemonic == "mov" and instruction.operands in (f"eax, {_ARCH_PRCTL:#x}", "edi, 0x9e")
        if number or (instruction.is_call and image.called_name(instruction) == "arch_prctl"):
            return True
    return False
