"""One mapped ELF file, as far as a report needs it: addresses, identity, which code has unwind information."""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_PT_LOAD, _PT_NOTE, _PT_GNU_EH_FRAME = 1, 4, 0x6474E550
_NT_GNU_BUILD_ID = 3
_SHT_NOBITS = 8
_PF_X = 1
_PCREL_SDATA4, _DATAREL_SDATA4, _UDATA4 = 0x1B, 0x3B, 0x03


@dataclass(frozen=True)
class Segment:
    """A program header."""

    kind: int
    flags: int
    offset: int
    address: int
    size: int
    memory_size: int


class Module:
    """An ELF64 file behind an open descriptor, which stays the caller's.  Raises ValueError if it is none."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        if os.fstat(descriptor).st_size < 64:
            raise ValueError("not an ELF file")
        self._data = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        if self._data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit ELF file")
        (self.segments, self._sections) = self._read_headers()

    def _read_headers(
        self,
    ) -> tuple[tuple[Segment, ...], dict[bytes, tuple[int, int, int]]]:
        """Program headers; and address, offset and size of sections by name."""
        table, sections = struct.unpack_from("<QQ", self._data, 32)
        size, count, section_size, section_count, names = struct.unpack_from(
            "<HHHHH", self._data, 54
        )
        segments: list[Segment] = []
        named: dict[bytes, tuple[int, int, int]] = {}
        try:
            for i in range(count):
                kind, flags, offset, address, _, length, memory = struct.unpack_from(
                    "<IIQQQQQ", self._data, table + i * size
                )
                segments.append(Segment(kind, flags, offset, address, length, memory))
            headers = [
                struct.unpack_from("<IIQQQQ", self._data, sections + i * section_size)
                for i in range(section_count)
            ]
            for name, kind, _, address, offset, length in headers:
                start = headers[names][4] + name
                text = self._data[start : self._data.find(b"\0", start)]
                if kind != _SHT_NOBITS:
                    named.setdefault(text, (address, offset, length))
        except (struct.error, IndexError):  # cut short: what was read so far has to do
            pass
        return tuple(segments), named

    def code_address(self, offset: int) -> int | None:
        """Link-time address of a file offset in an executable segment."""
        for segment in self.segments:
            if (
                segment.kind == _PT_LOAD
                and segment.flags & _PF_X
                and 0 <= offset - segment.offset < segment.size
            ):
                return segment.address + offset - segment.offset
        return None

    def bias(self, start: int, offset: int) -> int | None:
        """Load bias, from an executable mapping of this file at `start` that begins at file offset `offset`."""
        for segment in self.segments:
            first = segment.offset & -mmap.PAGESIZE
            if (
                segment.kind == _PT_LOAD
                and segment.flags & _PF_X
                and first <= offset < segment.offset + segment.size
            ):
                return start - (segment.address - segment.offset + offset)
        return None

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Lowest and highest link-time address of the loaded segments."""
        loads = [segment for segment in self.segments if segment.kind == _PT_LOAD]
        return min(s.address for s in loads), max(
            s.address + s.memory_size for s in loads
        )

    def read(self, address: int, size: int) -> bytes:
        """File contents at a link-time address; fewer bytes at the end of a segment, none outside."""
        offset = self._offset(address)
        return (
            self._data[offset[0] : min(offset[0] + size, offset[1])] if offset else b""
        )

    def _offset(self, address: int) -> tuple[int, int] | None:
        for segment in self.segments:
            if (
                segment.kind == _PT_LOAD
                and 0 <= address - segment.address < segment.size
            ):
                return (
                    segment.offset + address - segment.address,
                    segment.offset + segment.size,
                )
        return None

    @cached_property
    def build_id(self) -> str | None:
        """GNU build-id, hexadecimal."""
        for segment in self.segments:
            if segment.kind != _PT_NOTE:
                continue
            position, end = segment.offset, segment.offset + segment.size
            while position + 12 <= min(end, len(self._data)):
                name_size, size, kind = struct.unpack_from("<III", self._data, position)
                start = position + 12 + (name_size + 3 & ~3)
                if (
                    kind == _NT_GNU_BUILD_ID
                    and self._data[position + 12 : position + 16] == b"GNU\0"
                    and 0 < size <= 64
                ):
                    return self._data[start : start + size].hex()
                position = start + (size + 3 & ~3)
        return None

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self._data).hexdigest()

    def function(self, address: int) -> tuple[int, int] | None:
        """Start and end of the code around an address that one unwind entry (FDE) describes; None: there is none."""
        try:
            return self._indexed(address) if self._index else self._scanned(address)
        except (struct.error, IndexError, ValueError):
            return None  # damaged tables are no tables

    @property
    def can_unwind(self) -> bool:
        """Whether a debugger finds the unwind tables: it looks for them by section."""
        return b".eh_frame" in self._sections

    @cached_property
    def _index(self) -> tuple[int, int, int] | None:
        """.eh_frame_hdr: its address, file offset of its search table, entries.  Only the encoding that linkers write."""
        for segment in self.segments:
            if segment.kind == _PT_GNU_EH_FRAME and segment.size >= 12:
                version, pointer, count, table = self._data[
                    segment.offset : segment.offset + 4
                ]
                if (version, count, table) == (
                    1,
                    _UDATA4,
                    _DATAREL_SDATA4,
                ) and pointer & 0x0F in (0x03, 0x0B):
                    (entries,) = struct.unpack_from(
                        "<I", self._data, segment.offset + 8
                    )
                    return segment.address, segment.offset + 12, entries
        return None

    def _indexed(self, address: int) -> tuple[int, int] | None:
        """Binary search in .eh_frame_hdr: pairs (function, entry), relative to it, ascending."""
        assert self._index is not None
        base, table, count = self._index
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if (
                base + struct.unpack_from("<i", self._data, table + 8 * middle)[0]
                <= address
            ):
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return None
        place = self._offset(
            base + struct.unpack_from("<i", self._data, table + 8 * (low - 1) + 4)[0]
        )
        found = (
            self._entry(place[0], base + place[0] - self._offset_of(base))
            if place
            else None
        )
        return found if found and found[0] <= address < found[1] else None

    def _offset_of(self, address: int) -> int:
        place = self._offset(address)
        if place is None:
            raise ValueError("address outside the file")
        return place[0]

    def _scanned(self, address: int) -> tuple[int, int] | None:
        return next(
            (entry for entry in self._entries if entry[0] <= address < entry[1]), None
        )

    @cached_property
    def _entries(self) -> tuple[tuple[int, int], ...]:
        """All entries of .eh_frame, for files without the search table."""
        return (
            tuple(self._scan(*self._sections[b".eh_frame"])) if self.can_unwind else ()
        )

    def _scan(self, address: int, offset: int, size: int) -> Iterator[tuple[int, int]]:
        position = offset
        while position + 8 <= offset + size:
            length, pointer = struct.unpack_from("<II", self._data, position)
            if length in (0, 0xFFFFFFFF):
                return
            if pointer != 0:
                yield self._entry(position, address + position - offset)
            position += 4 + length

    def _entry(self, position: int, address: int) -> tuple[int, int]:
        """Range of the FDE at a file offset and address."""
        _, back = struct.unpack_from("<II", self._data, position)
        encoding = self._pointer_encoding(position + 4 - back)
        if encoding == _PCREL_SDATA4:
            start, length = struct.unpack_from("<iI", self._data, position + 8)
            return address + 8 + start, address + 8 + start + length
        if encoding == 0x1C:  # pc-relative, 8 bytes: large code model
            start, length = struct.unpack_from("<qQ", self._data, position + 8)
            return address + 8 + start, address + 8 + start + length
        if encoding in (0x00, 0x04):
            start, length = struct.unpack_from("<QQ", self._data, position + 8)
            return start, start + length
        if encoding == _UDATA4:
            start, length = struct.unpack_from("<II", self._data, position + 8)
            return start, start + length
        raise ValueError("unusual pointer encoding")

    def _pointer_encoding(self, cie: int) -> int:
        """How the FDEs of a CIE write addresses: "R" of its augmentation."""
        end = self._data.find(b"\0", cie + 9)
        augmentation = self._data[cie + 9 : end]
        position = end + 1
        for _ in range(2):  # code and data alignment factor
            position = self._skip_leb(position)
        position = self._skip_leb(position)  # return address register
        if not augmentation.startswith(b"z"):
            return 0x00
        position = self._skip_leb(position)
        for letter in augmentation[1:].decode("ascii", "replace"):
            if letter == "R":
                return self._data[position]
            if letter == "L":
                position += 1
            elif letter == "P":
                encoding = self._data[position]
                position += 1 + {0x00: 8, 0x02: 2, 0x03: 4, 0x04: 8}[encoding & 0x07]
            elif letter not in "SB":
                raise ValueError("unknown augmentation")
        return 0x00

    def _skip_leb(self, position: int) -> int:
        while self._data[position] & 0x80:
            position += 1
        return position + 1
