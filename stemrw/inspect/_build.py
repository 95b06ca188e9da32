"""What a file says of how it was made: headers, notes, the compilers' comments."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Literal

from stemrw.documents.inspection import Build
from stemrw.elf import Elf
from stemrw.elf.constants import DT_NEEDED, DT_SONAME, ET_EXEC, PT_DYNAMIC, PT_INTERP, PT_NOTE, SHT_SYMTAB

_MUSL_LOADER, _GLIBC_LOADER = "ld-musl-", "ld-linux-x86-64.so.2"
_GLIBC = frozenset(("libc.so.6", "libpthread.so.0", "libm.so.6", _GLIBC_LOADER))
_GLIBC_INSIDE = (b"GNU C Library", b"GLIBC_TUNABLES")
_PACKAGE_NOTE, _PROPERTY_NOTE = 0xCAFE1A7E, 5
_X86_FEATURES, _IBT, _SHSTK = 0xC0000002, 1, 2
_LINKERS = ("Linker: LLD", "mold", "gold", "wild")
Libc = Literal["glibc", "musl", "other", "none"]


def build(elf: Elf, *, debug_file: bool) -> Build:
    """Everything that the file says; `debug_file` is whether its separate debug file is installed."""
    comments = tuple(dict.fromkeys(_comments(elf)))
    linker = next((text for text in comments if text.startswith(_LINKERS)), None) or _gold(elf)
    dynamic = any(segment.kind == PT_DYNAMIC for segment in elf.segments)
    interpreter = _interpreter(elf)
    needed = tuple(elf.dynamic_string(index) for index in elf.dynamic.get(DT_NEEDED, []))
    return Build(
        kind="program" if elf.is_program else "library",
        linking="dynamic" if interpreter or needed or (dynamic and not elf.is_program) else "static",
        position="fixed" if elf.type == ET_EXEC else "independent",
        interpreter=interpreter,
        libc=_libc(elf, needed, interpreter),
        needed=needed,
        linker=linker,
        compilers=tuple(text for text in comments if text != linker),
        package=_package(elf),
        control_flow=tuple(_control_flow(elf)),
        symbols=any(section.kind == SHT_SYMTAB for section in elf.sections),
        debug=_debug(elf, installed=debug_file),
    )


def _interpreter(elf: Elf) -> str | None:
    for segment in elf.segments:
        if segment.kind == PT_INTERP:
            raw = bytes(elf.data[segment.offset : segment.offset + min(segment.file_size, 4096)])
            return raw.partition(b"\0")[0].decode("utf-8", "replace") or None
    return None


def _libc(elf: Elf, needed: tuple[str, ...], interpreter: str | None) -> Libc | None:
    soname = elf.dynamic_string(elf.dynamic_value(DT_SONAME)) if DT_SONAME in elf.dynamic else ""
    names = [*needed, soname, (interpreter or "").rpartition("/")[2]]
    if any(name in _GLIBC for name in names):
        return "glibc"
    if any(name.startswith((_MUSL_LOADER, "libc.musl-")) for name in names):
        return "musl"
    if needed or interpreter:
        return "other"
    if any(elf.data.find(text) >= 0 for text in _GLIBC_INSIDE):
        return "glibc"
    return None if elf.is_program else "none"


def _comments(elf: Elf) -> Iterator[str]:
    section = elf.section(".comment")
    if section is not None:
        for text in elf.section_bytes(section)[: 1 << 16].split(b"\0"):
            if text:
                yield text.decode("utf-8", "replace")


def _gold(elf: Elf) -> str | None:
    section = elf.section(".note.gnu.gold-version")
    if section is None:
        return None
    return elf.section_bytes(section)[16:].rstrip(b"\0").decode("utf-8", "replace") or "gold"


def _notes(elf: Elf) -> Iterator[tuple[bytes, int, bytes]]:
    for segment in elf.segments:
        if segment.kind == PT_NOTE:
            yield from elf.notes(segment)


def _package(elf: Elf) -> str | None:
    """Name and version of the package that a distribution built the file for (the "package metadata" note)."""
    for owner, kind, text in _notes(elf):
        if owner == b"FDO\0" and kind == _PACKAGE_NOTE:
            try:
                said = json.loads(text.rstrip(b"\0"))
            except (ValueError, RecursionError):
                return None
            if isinstance(said, dict):
                return " ".join(str(said[key]) for key in ("name", "version") if key in said) or None
    return None


def _control_flow(elf: Elf) -> Iterator[Literal["ibt", "shstk"]]:
    for owner, kind, text in _notes(elf):
        at = 0
        while owner == b"GNU\0" and kind == _PROPERTY_NOTE and at + 12 <= len(text):
            name, size, value = struct.unpack_from("<III", text, at)
            if name == _X86_FEATURES:
                if value & _IBT:
                    yield "ibt"
                if value & _SHSTK:
                    yield "shstk"
                return
            at += 8 + (size + 7 & ~7)


def _debug(elf: Elf, *, installed: bool) -> Literal["inside", "separate", "named"] | None:
    if elf.section(".debug_info") is not None or elf.section(".zdebug_info") is not None:
        return "inside"
    if installed:
        return "separate"
    return "named" if elf.section(".gnu_debuglink") is not None else None
