"""One mapped ELF file, as far as a report needs it: addresses, identity, which code has unwind information."""

from __future__ import annotations

import mmap
from functools import cached_property

from stemrw.elf import Elf, read_binary
from stemrw.image._cfi import UnwindTable


class Module:
    """An ELF file behind an open descriptor, which stays the caller's.

    Raises BinaryError if it is no x86-64 ELF file, or cannot be read.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self._elf = Elf(read_binary(descriptor), path)
        self._unwind = UnwindTable(self._elf)

    def code_address(self, offset: int) -> int | None:
        """Link-time address of a file offset in an executable segment."""
        for segment in self._elf.code_segments:
            if 0 <= offset - segment.offset < segment.file_size:
                return segment.address + offset - segment.offset
        return None

    def bias(self, start: int, offset: int) -> int | None:
        """Load bias, from an executable mapping of this file at `start` that begins at file offset `offset`."""
        for segment in self._elf.code_segments:
            if segment.offset & -mmap.PAGESIZE <= offset < segment.offset + segment.file_size:
                return start - (segment.address - segment.offset + offset)
        return None

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Lowest and highest link-time address of the loaded segments."""
        loads = self._elf.loads
        return min(s.address for s in loads), max(s.address + s.memory_size for s in loads)

    def read(self, address: int, size: int) -> bytes:
        """File contents at a link-time address; fewer bytes at the end of a segment, none outside."""
        return self._elf.read(address, size)

    @property
    def build_id(self) -> str | None:
        """GNU build-id, hexadecimal."""
        return self._elf.build_id

    @cached_property
    def sha256(self) -> str:
        """Of the whole file."""
        return self._elf.sha256

    def function(self, address: int) -> int | None:
        """Start of the code around an address that one unwind entry (FDE) describes; None: there is none."""
        entry = self._unwind.at(address)
        return entry.start if entry else None

    @cached_property
    def can_unwind(self) -> bool:
        """Whether drgn finds the unwind tables: it looks for them by section."""
        return self._elf.section(".eh_frame") is not None
