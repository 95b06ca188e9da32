"""A second opinion: how an independent ELF parser sees original and hardened file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stemrw.documents.verification import Check
from stemrw.elf import Elf

_NAME = "second parser (lief)"


def second_opinion(original: Elf, hardened: Elf) -> Check:
    """Everything that a loader, linker or debugger reads is the same for lief; skipped where lief is not installed."""
    try:
        import lief
    except ImportError:
        why = "lief is not installed (pip install lief)"
        return Check(group="structure", name=_NAME, outcome="skipped", details=(why,))
    lief.logging.disable()
    before, after = lief.ELF.parse(bytes(original.data)), lief.ELF.parse(bytes(hardened.data))
    if before is None or after is None:
        which = "original" if before is None else "hardened file"
        return Check(group="structure", name=_NAME, outcome="failed", details=(f"lief cannot read the {which}",))
    complaints = tuple(_differences(before, after))
    return Check(group="structure", name=_NAME, outcome="failed" if complaints else "passed", details=complaints)


def _differences(before: Any, after: Any) -> Iterator[str]:
    for what, view in _VIEWS.items():
        if _seen(view, before) != _seen(view, after):
            yield f"{what}: not what they were in the original"
    sections = {section.name for section in after.sections} - {section.name for section in before.sections}
    if sections - {".stemrw", ".stemrw.state"}:
        yield f"sections {', '.join(map(str, sections))} were added"


def _seen(view: Callable[[Any], Any], binary: Any) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of numbers that no enumeration has
            return view(binary)
    except Exception as error:  # lief raises what it likes on damaged files
        return f"{type(error).__name__}: {error}"


def _symbols(symbols: Any) -> list[tuple[Any, ...]]:
    return [(s.name, s.value, s.size, int(s.type), int(s.binding), int(s.visibility), s.shndx) for s in symbols]


def _dynamic(binary: Any) -> list[tuple[int, int]]:
    return [(int(entry.tag), entry.value) for entry in binary.dynamic_entries]


def _relocations(binary: Any) -> list[tuple[int, int, int]]:
    return [(r.address, int(r.type), r.addend) for r in binary.relocations]


_VIEWS: Mapping[str, Callable[[Any], Any]] = {
    "entry point and type": lambda binary: (binary.header.entrypoint, int(binary.header.file_type)),
    "interpreter": lambda binary: binary.interpreter if binary.has_interpreter else None,
    "dynamic entries": _dynamic,
    "dynamic symbols": lambda binary: _symbols(binary.dynamic_symbols),
    "symbols": lambda binary: _symbols(binary.symtab_symbols),
    "relocations": _relocations,
    "needed libraries": lambda binary: list(binary.libraries),
}
