"""A file's new content as changes over the old one, so that a file of any size is held in memory once."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Edited:
    """The first `kept` bytes of `base` with `edits` (offset, bytes; ascending, disjoint, within them), then `tail`."""

    base: bytes | mmap.mmap
    kept: int
    edits: Sequence[tuple[int, bytes]]
    tail: bytes = b""

    def __len__(self) -> int:
        return self.kept + len(self.tail)

    def pieces(self) -> Iterator[memoryview | bytes]:
        """The content, from front to back."""
        view = memoryview(self.base)
        at = 0
        for offset, new in self.edits:
            yield view[at:offset]
            yield new
            at = offset + len(new)
        yield view[at : self.kept]
        yield self.tail

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces())

    @cached_property
    def sha256(self) -> str:
        """Of the content, as hexadecimal digits."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()
