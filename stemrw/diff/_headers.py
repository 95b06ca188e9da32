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
_SPARE = (PT_NOTE, PT_PHDR)
"""Program headers that nothing at run time is lost with."""


def changes(original: Elf, hardened: Elf) -> Iterator[HeaderChange]:
    """Every header that is not as it was."""
    yield from _aligned("program", list(map(_segment, original.segments)), list(map(_segment, hardened.segments)))
    yield from _aligned("section", list(map(_section, original.sections)), list(map(_section, hardened.sections)))


def complaint(original: Elf, hardened: Elf) -> str | None:
    """What of the original's headers was changed that must stay, or added that must not be; None: nothing.

    Every segment keeps its place in file and memory, its size in the file and its rights; it may grow in memory, behind
    what it held. Notes may go. What is new is never writable and executable at once.
    """
    kept = list(hardened.segments)
    for segment in original.segments:
        same = next((s for s in kept if _place(s) == _place(segment) and s.memory_size >= segment.memory_size), None)
        if same is not None:
            kept.remove(same)
        elif segment.kind not in _SPARE:
            return f"the program header {_segment(segment)} is gone or changed"
    for segment in kept:
        if segment.kind == PT_LOAD and segment.flags & PF_W and segment.flags & PF_X:
            return f"a segment is writable and executable: {_segment(segment)}"
        if segment.kind != PT_LOAD or segment.offset < len(original.data):
            return f"a program header is new that is not of the appended part: {_segment(segment)}"
    if not hardened.sections and original.sections:
        return "the section headers are gone"
    for i, (before, after) in enumerate(zip(original.sections, hardened.sections, strict=False)):
        if i != original.names_index and _section(before) != _section(after):
            return f"section {i} was changed: {_section(before)} → {_section(after)}"
    return None


def _place(segment: Segment) -> tuple[int, ...]:
    return (segment.kind, segment.flags, segment.offset, segment.address, segment.physical, segment.file_size,
            segment.align)  # fmt: skip


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
