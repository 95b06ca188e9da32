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
    for segment in elf.code_segments:
        end = segment.offset + segment.file_size
        base = segment.address - segment.offset
        yield from branch_candidates(elf.data, base, low, high, start=segment.offset, end=end)


def branch_candidates(
    code: bytes | mmap.mmap, address: int, low: int, high: int, *, start: int = 0, end: int | None = None
) -> Iterator[tuple[int, int]]:
    """(site, target) of every byte string that looks like a near call, jump or conditional jump into [low, high).

    `address` is that of `code[0]`; `code[start:end]` is searched. A search over raw bytes: a site need not be an
    instruction boundary, so the caller decodes around it.

    Within a window of code the upper bytes of the 32-bit displacement of such a branch can take only a few values, and
    a plain substring search for those finds all candidates. Near the target those bytes are all zeros or ones, as many
    others are; there the windows are small and three bytes are compared.
    """
    end = len(code) if end is None else end
    for window in range(start, end, 1 << 16):
        for upper in _upper_values(address, window, low, high, 16):
            if upper in (0, -1) and high - low <= 2048:
                for small in range(window, min(window + (1 << 16), end), 1 << 8):
                    for value in _upper_values(address, small, low, high, 8):
                        if value >> 8 == upper:
                            yield from _in_window(code, address, small, end, value, 8, range(low, high))
            else:
                yield from _in_window(code, address, window, end, upper, 16, range(low, high))


def _upper_values(base: int, window: int, low: int, high: int, shift: int) -> range:
    """What `displacement >> shift` can be for branches into [low, high) in a window of `1 << shift` bytes."""
    first = max(low - (base + window + (1 << shift) + 6), -1 << 31) >> shift
    last = min(high - (base + window + 5), (1 << 31) - 1) >> shift
    return range(first, last + 1)


def _in_window(
    code: bytes | mmap.mmap, base: int, window: int, limit: int, upper: int, shift: int, targets: range
) -> Iterator[tuple[int, int]]:
    pattern = (upper & (1 << 32 - shift) - 1).to_bytes(4 - shift // 8, "little")
    skipped = 1 + shift // 8  # opcode and the lower bytes of the displacement
    end = min(window + (1 << shift), limit)
    last = min(end + 5, limit)
    at = code.find(pattern, window + skipped, last)
    while at >= 0:
        opcode = at - skipped
        if opcode < end and code[opcode] in _OPCODES:
            target = base + opcode + 5 + int.from_bytes(code[opcode + 1 : opcode + 5], "little", signed=True)
            if target in targets:
                if code[opcode] >= 0xE8:
                    yield base + opcode, target
                elif opcode and code[opcode - 1] == 0x0F:
                    yield base + opcode - 1, target
        at = code.find(pattern, at + 1, last)
