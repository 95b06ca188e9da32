"""Program and section headers: is what they say of the file what hardening makes of them, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator

from stemrw.elf import Elf, Section, Segment
from stemrw.elf.constants import PAGE, PF_R, PF_W, PF_X, PT_GNU_RELRO, PT_LOAD, PT_NOTE, PT_PHDR, SHT_NOBITS
from stemrw.verify._subject import Subject

_OURS = (".stemrw", ".stemrw.state")


def program_headers(subject: Subject) -> Iterator[str]:
    """The payload's header in place of a note; the last writable segment longer in memory; all else as it was."""
    before, after = list(subject.original.segments), list(subject.hardened.segments)
    payload = subject.manifest.payload
    loads = [segment for segment in after if segment.kind == PT_LOAD]
    ours = loads[-1]
    if (ours.address, ours.offset, ours.flags) != (payload.address, payload.offset, PF_R | PF_X) or not (
        ours.file_size == ours.memory_size == payload.size and ours.align == PAGE
    ):
        yield "the last PT_LOAD is not the payload, readable and executable"
    if len(before) != len(after):
        yield f"there are {len(after)} program headers instead of {len(before)}"
    grown = _last_writable(subject.original)
    after.remove(ours)
    for segment in before:
        if segment in after:
            after.remove(segment)
        elif segment == grown:
            longer = [other for other in after if _same_but_longer(segment, other)]
            if not longer or longer[0].end != payload.state_address + payload.state_size:
                yield f"the segment at {segment.address:#x} does not end where the state ends"
            after = [other for other in after if other not in longer]
        elif segment.kind not in (PT_NOTE, PT_PHDR):
            yield f"the program header of type {segment.kind:#x} at {segment.address:#x} was changed"
    for segment in after:
        yield f"there is a program header of type {segment.kind:#x} at {segment.address:#x} that was not there"


def _same_but_longer(a: Segment, b: Segment) -> bool:
    return b.memory_size > a.memory_size and (
        (a.kind, a.flags, a.offset, a.address, a.file_size, a.align)
        == (b.kind, b.flags, b.offset, b.address, b.file_size, b.align)
    )


def sections(subject: Subject) -> Iterator[str]:
    """Every section as it was, the table of names but for its place; two more that cover what was added."""
    before, after, payload = subject.original.sections, subject.hardened.sections, subject.manifest.payload
    if not before:
        if after:
            yield "the original has no sections, the hardened file has some"
        return
    added = {section.name: section for section in after[len(before) :]}
    if tuple(added) != _OURS:
        yield f"the sections that were added are {', '.join(added) or 'none'}, not {' and '.join(_OURS)}"
        return
    for index, (a, b) in enumerate(zip(before, after, strict=False)):
        if index != subject.original.names_index and a != b:
            yield f"section {a.name!r} was changed"
    code, state = (added[name] for name in _OURS)
    if _extent(code) != (payload.address, payload.size) or code.offset != payload.offset:
        yield f"{_OURS[0]} does not cover the payload"
    if _extent(state) != (payload.state_address, payload.state_size) or state.kind != SHT_NOBITS:
        yield f"{_OURS[1]} does not cover the state, or has bytes in the file"


def _extent(section: Section) -> tuple[int, int]:
    return section.address, section.size


def state(subject: Subject) -> Iterator[str]:
    """Zero memory behind .bss that nothing else has: no file bytes, a page of its own behind one that stays empty."""
    payload = subject.manifest.payload
    size = subject.image.state_size(len(subject.records))
    if payload.state_size < size:
        yield f"the state has {payload.state_size} bytes, {size} are needed"
    if payload.state_address % PAGE:
        yield "the state does not begin on a page"
    before = _last_writable(subject.original)
    if before is None:
        yield "the original has no writable segment behind which the state could lie"
        return
    if payload.state_address < before.end + PAGE:
        yield f"there is no free page between the end of .bss at {before.end:#x} and the state"
    end = payload.state_address + payload.state_size
    for load in subject.hardened.loads:
        if load.has_bytes(payload.state_address) or load.has_bytes(end - 1):
            yield f"the file has bytes for the state, in the segment at {load.address:#x}"
        if load.address != before.address and load.address < end and payload.state_address < load.end:
            yield f"the segment at {load.address:#x} overlaps the state"
    for segment in subject.hardened.segments:
        if segment.kind == PT_GNU_RELRO and segment.end > payload.state_address - PAGE:
            yield "the loader makes the state read-only (PT_GNU_RELRO)"


def writable_code(subject: Subject) -> Iterator[str]:
    """No segment is writable and executable that was not so before."""
    known = {load.address for load in subject.original.loads if load.flags & PF_W and load.flags & PF_X}
    for load in subject.hardened.loads:
        if load.flags & PF_W and load.flags & PF_X and load.address not in known:
            yield f"the segment at {load.address:#x} is writable and executable"
    for section in subject.hardened.sections[len(subject.original.sections) :]:
        if section.flags & 1 and section.flags & 4:
            yield f"section {section.name} is writable and executable"


def _last_writable(elf: Elf) -> Segment | None:
    return next((load for load in reversed(elf.loads) if load.flags & PF_W), None)
