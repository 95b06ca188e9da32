"""Finds branches to given places without decoding: milliseconds for megabytes of code."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

from stemrw.elf._file import Elf

_OPCODES = frozenset((0xE8, 0xE9, *range(0x80, 0x90)))


def branches_into(elf: Elf, low: int, high: int) -> Iterator[tuple[int, int]]:
    """(site, target) of everything in a file's code that looks like a direct branch into [low, high).

    As `branch_candidates`, which says what "looks like" means.
    """
    for text in elf.texts:
        start = elf.offset_of(text.start)
        if start is not None:
            end = start + len(text)
            yield from branch_candidates(elf.data, text.start - start, low, high, start=start, end=end)


def branch_candidates(
    code: bytes | mmap.mmap, address: int, low: int, high: int, *, start: int = 0, end: int | None = None
) -> Iterator[tuple[int, int]]:
    """(site, target) of every byte string that looks like a near call, jump or conditional jump into [low, high).

    `address` is that of `code[0]`; `code[start:end]` is searched. A search over raw bytes: a site need not be an
    instruction boundary, so the caller decodes around it.

    Along a stretch of 64 KiB all branches to one place have the same upper half of the displacement, and a plain
    substring search for that finds them. Near the target those bytes are all zeros or ones, as many others are; there
    the stretches are of 256 bytes, and three bytes are compared.
    """
    fields = range(start + 1, (len(code) if end is None else end) - 3)
    for upper in reversed(_uppers(address, fields, low, high)):
        if upper in (0, -1) and high - low <= 2048:
            for value in reversed(range(upper << 8, upper + 1 << 8)):
                yield from _along(code, address, fields, value, 8, range(low, high))
        else:
            yield from _along(code, address, fields, upper, 16, range(low, high))


def _uppers(address: int, fields: range, low: int, high: int) -> range:
    """What the upper halves of displacements can be that stand in `fields` and lead into [low, high)."""
    first = max(low - (address + fields.stop - 1 + 4), -1 << 31) >> 16
    last = min(high - 1 - (address + fields.start + 4), (1 << 31) - 1) >> 16
    return range(first, last + 1)


def _along(
    code: bytes | mmap.mmap, address: int, fields: range, value: int, shift: int, targets: range
) -> Iterator[tuple[int, int]]:
    """The branches whose displacement without its lower `shift` bits is `value`, by address."""
    first = max(targets.start - address - 4 - ((value + 1 << shift) - 1), fields.start)
    last = min(targets.stop - 1 - address - 4 - (value << shift), fields.stop - 1)
    skipped = shift // 8
    pattern = (value & (1 << 32 - shift) - 1).to_bytes(4 - skipped, "little")
    at = code.find(pattern, first + skipped, last + 4) if first <= last else -1
    while at >= 0:
        field = at - skipped
        if code[field - 1] in _OPCODES:
            target = address + field + 4 + int.from_bytes(code[field : field + 4], "little", signed=True)
            if target in targets:
                if code[field - 1] >= 0xE8:
                    yield address + field - 1, target
                elif field >= 2 and code[field - 2] == 0x0F:
                    yield address + field - 2, target
        at = code.find(pattern, at + 1, last + 4)
