"""Program and section headers of the two files, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

from stemrw.documents.difference import HeaderChange
from stemrw.elf import Elf, Section, Segment
from stemrw.elf.constants import (
    PF_R,
    PF_W,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_EH_FRAME,
    PT_GNU_PROPERTY,
    PT_GNU_RELRO,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    PT_NOTE,
    PT_PHDR,
    PT_TLS,
)

_KINDS = {
    PT_LOAD: "LOAD", PT_DYNAMIC: "DYNAMIC", PT_INTERP: "INTERP", PT_NOTE: "NOTE", PT_PHDR: "PHDR", PT_TLS: "TLS",
    PT_GNU_EH_FRAME: "GNU_EH_FRAME", PT_GNU_STACK: "GNU_STACK", PT_GNU_RELRO: "GNU_RELRO",
    PT_GNU_PROPERTY: "GNU_PROPERTY",
}  # fmt: skip


def changes(original: Elf, hardened: Elf) -> Iterator[HeaderChange]:
    """Every header that is not as it was."""
    yield from _aligned("program", list(map(_segment, original.segments)), list(map(_segment, hardened.segments)))
    yield from _aligned("section", list(map(_section, original.sections)), list(map(_section, hardened.sections)))


def _aligned(
    table: Literal["program", "section"], before: Sequence[str], after: Sequence[str]
) -> Iterator[HeaderChange]:
    for kind, a, a_end, b, b_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            for i in range(max(a_end - a, b_end - b)):
                old = before[a + i] if a + i < a_end else None
                new = after[b + i] if b + i < b_end else None
                yield HeaderChange(table=table, index=b + i if new is not None else a + i, before=old, after=new)


def _segment(segment: Segment) -> str:
    rights = "".join(letter if segment.flags & bit else "-" for letter, bit in (("r", PF_R), ("w", PF_W), ("x", PF_X)))
    return (
        f"{_KINDS.get(segment.kind, hex(segment.kind))} {rights} at {segment.address:#x}, file {segment.offset:#x} + "
        f"{segment.file_size:#x}, memory {segment.memory_size:#x}"
    )


def _section(section: Section) -> str:
    at = f" at {section.address:#x}" if section.address else ""
    return f"{section.name or '(no name)'}{at}, file {section.offset:#x} + {section.size:#x}"
