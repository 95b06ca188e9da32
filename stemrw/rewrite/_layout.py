"""Where the additions go, in the file and in memory.

file                                            memory (link-time addresses)
┌──────────────────────────────┐                ┌─────────────────────────────┐
│ the original, same offsets   │ ─────────────▶ │ its segments, same addresses│
│                              │                │   last writable one: .bss   │
│                              │                │   + a guard page            │
│                              │                │   + state (zero, no bytes)  │
├──────────────────────────────┤ page           ├─────────────────────────────┤ page
│ payload                      │ ─────────────▶ │ payload, read + execute     │
├──────────────────────────────┤                └─────────────────────────────┘
│ section names, section table │
└──────────────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stemrw.elf import Elf, Section, Segment, align
from stemrw.elf.constants import (
    ET_EXEC,
    NT_GNU_BUILD_ID,
    PAGE,
    PF_R,
    PF_W,
    PF_X,
    PT_GNU_PROPERTY,
    PT_GNU_RELRO,
    PT_INTERP,
    PT_LOAD,
    PT_NOTE,
    PT_NULL,
    PT_PHDR,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHN_LORESERVE,
    SHT_NOBITS,
    SHT_PROGBITS,
)
from stemrw.errors import BinaryError

PAYLOAD_SECTION, STATE_SECTION = ".stemrw", ".stemrw.state"
STATE_ALIGN = 64
_USER_END = 1 << 47
"""Where the half of the address space that programs have ends."""
_REACH = 1 << 31
"""Bytes that a 32-bit displacement leads across, in both directions."""


@dataclass(frozen=True)
class Layout:
    """Addresses and file offsets of payload and state; sizes in bytes."""

    payload_address: int
    payload_offset: int
    state_address: int
    state_size: int


def place(elf: Elf, state_size: int, payload_size: int) -> Layout:
    """Decide where payload and state lie, for a payload of no more than `payload_size` bytes.

    Raises BinaryError: no writable segment, or no room behind it or within reach of the code.
    """
    writable = _writable(elf)
    protected = [segment.end for segment in elf.segments if segment.kind == PT_GNU_RELRO]
    behind = align(max(writable.end, *protected, 0), PAGE)  # RELRO may be padded
    state = behind + PAGE  # the runtime makes the page between read-only: what overruns .bss faults, as it did
    end = state + state_size
    above = [load.address & -PAGE for load in elf.loads if load.address > writable.address]
    if above and align(end, PAGE) > min(above):
        raise BinaryError("there is no room behind the last writable segment", address=state)
    address = _payload_address(elf, writable, end, payload_size)
    if max(end, address + payload_size) > _USER_END:
        raise BinaryError("there is no room behind the last segment: programs end at 2^47", address=max(end, address))
    return Layout(address, align(len(elf.data), PAGE), state, state_size)


def _payload_address(elf: Elf, writable: Segment, state_end: int, size: int) -> int:
    """Behind everything; where the code does not reach that far (2 GiB), in the nearest gap between two segments.

    Not in front of everything: kernels before 5.18 derive the address of the program headers from the first PT_LOAD.
    """
    ends = [align(state_end if load is writable else load.end, PAGE) for load in elf.loads]
    starts = [load.address & -PAGE for load in elf.loads[1:]]
    gaps = [end for end, start in zip(ends, starts, strict=False) if end + size <= start]
    text = range(elf.code_segments[0].address, elf.code_segments[-1].end)
    for address in (max(ends), *sorted(gaps, key=lambda gap: abs(gap - text.stop))):
        if max(address + size, text.stop) - min(address, text.start) < _REACH:
            return address
    raise BinaryError(
        f"there is no room for the runtime within 2 GiB of the code: the file's memory ends at {max(ends):#x}",
        address=text.start,
        hint=f"a gap of {size} bytes between two of its segments would do (-Wl,-z,max-page-size=0x200000)",
    )


def segment_table(elf: Elf, layout: Layout, payload_size: int) -> bytes:
    """The program headers as they will be: one taken over for the payload, the last writable segment grown.

    PT_LOADs must ascend; so where the header stands before the last PT_LOAD, those between move up by one.
    """
    segments = list(elf.segments)
    writable = segments.index(_writable(elf))
    grown = layout.state_address + layout.state_size - segments[writable].address
    segments[writable] = replace(segments[writable], memory_size=grown)
    address, offset = layout.payload_address, layout.payload_offset
    payload = Segment(PT_LOAD, PF_R | PF_X, offset, address, address, payload_size, payload_size, PAGE)
    spare = _spare_header(elf)
    loads = [(i, segment.address) for i, segment in enumerate(segments) if segment.kind == PT_LOAD]
    above = [i for i, start in loads if start > address]
    del segments[spare]
    segments.insert(above[0] - (spare < above[0]) if above else max(spare, loads[-1][0]), payload)
    return b"".join(segment.pack() for segment in segments)


def section_tail(elf: Elf, layout: Layout, payload_size: int, at: int) -> tuple[bytes, int, int] | None:
    """Names and section headers for file offset `at`: (bytes, offset of the table, number of sections).

    The original headers keep their numbers, since symbols refer to them; ours follow.  None: the file has no sections.
    """
    sections = list(elf.sections)
    if not sections:
        return None
    if len(sections) + 2 >= SHN_LORESERVE:
        raise BinaryError(f"the file has {len(sections)} sections: no more can be numbered", hint="strip it first")
    names = sections[elf.names_index]
    text = elf.section_bytes(names)
    payload_name = len(text)
    state_name = payload_name + len(PAYLOAD_SECTION) + 1
    text += f"{PAYLOAD_SECTION}\0{STATE_SECTION}\0".encode()
    sections[elf.names_index] = replace(names, offset=at, size=len(text))
    sections.append(
        Section(payload_name, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, layout.payload_address, layout.payload_offset,
                payload_size, 0, 0, PAGE, 0)
    )  # fmt: skip
    writable = _writable(elf)
    state_offset = writable.offset + writable.file_size  # nominal, as for .bss: eu-strip makes files that long
    sections.append(
        Section(state_name, SHT_NOBITS, SHF_ALLOC | SHF_WRITE, layout.state_address, state_offset, layout.state_size,
                0, 0, STATE_ALIGN, 0)
    )  # fmt: skip
    table = align(at + len(text), 8)
    data = text.ljust(table - at, b"\0") + b"".join(section.pack() for section in sections)
    return data, table, len(sections)


def _writable(elf: Elf) -> Segment:
    writable = [load for load in elf.loads if load.flags & PF_W]
    if not writable:
        raise BinaryError("the file has no writable segment", hint="the runtime keeps its state behind .bss")
    return writable[-1]


def _spare_header(elf: Elf) -> int:
    """Index of the program header to take over: the one that is missed least.

    An unused or empty one; the note that duplicates PT_GNU_PROPERTY; a note without build-id; any note. Without notes
    PT_PHDR, from which the loader of a position-independent program learns where it is, but nobody anything else.
    """
    ranks = {i: rank for i, segment in enumerate(elf.segments) if (rank := _needlessness(elf, segment))}
    if not ranks:
        raise BinaryError(
            "all program headers are needed: there is no note whose header could be taken over for the runtime",
            hint="link the file with a build-id (-Wl,--build-id)",
        )
    return max(ranks, key=lambda i: ranks[i])  # of equals the first


def _needlessness(elf: Elf, segment: Segment) -> int:
    """How well the file can do without a program header; 0: not at all."""
    if segment.kind == PT_NULL or (segment.kind == PT_NOTE and not segment.file_size):
        return 5
    if segment.kind == PT_NOTE:
        if any(other.kind == PT_GNU_PROPERTY and other.offset == segment.offset for other in elf.segments):
            return 4
        has_build_id = any(o == b"GNU\0" and kind == NT_GNU_BUILD_ID for o, kind, _ in elf.notes(segment))
        return 2 if has_build_id else 3
    interpreted = any(other.kind == PT_INTERP for other in elf.segments)
    return int(segment.kind == PT_PHDR and (elf.type == ET_EXEC or not interpreted))
