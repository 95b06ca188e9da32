"""decode() reads nothing beyond the bytes it may read, and does nothing that C leaves undefined."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest
from decoder import corpus
from decoder.native import NativeDecoder, build

LONGEST = 15
STRINGS = 1_500


@pytest.fixture
def edge() -> Iterator[int]:
    """Address of the first byte behind a writable page; whoever reads there dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    both = mmap.PROT_READ | mmap.PROT_WRITE
    pages = libc.mmap(None, 2 * mmap.PAGESIZE, both, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert libc.mprotect(pages + mmap.PAGESIZE, mmap.PAGESIZE, 0) == 0
    yield pages + mmap.PAGESIZE
    libc.munmap(pages, 2 * mmap.PAGESIZE)


@pytest.mark.parametrize("bits", [64, 32])
def test_nothing_behind_the_available_bytes_is_read(native: NativeDecoder, edge: int, bits: int) -> None:
    decoded = 0
    for strings in corpus.random_strings(7, STRINGS, bits).values():
        for start in range(0, len(strings), corpus.STRIDE):
            code = strings[start : start + LONGEST]
            whole = native.one(code, bits=bits)
            lengths = range(1, LONGEST + 1) if whole is None else (1, max(1, whole.length - 1), whole.length, LONGEST)
            for available in lengths:
                ctypes.memmove(edge - available, code, available)
                found = native.at(edge - available, available, bits=bits)
                enough = whole is not None and whole.length <= available
                assert found == (whole if enough else None), f"{code.hex()} with {available} bytes"
                decoded += enough
    assert decoded > STRINGS


def test_no_byte_at_all_is_no_instruction(native: NativeDecoder, edge: int) -> None:
    assert native.at(edge, 0) is None


def test_no_instruction_is_longer_than_15_bytes(native: NativeDecoder) -> None:
    assert native.one(b"\x66" * 14 + b"\x90") is not None
    assert native.one(b"\x66" * 15 + b"\x90") is None
    assert native.one(b"\x2e" * 12 + b"\x05\x00\x00\x00\x00") is None


@pytest.mark.parametrize("bits", [64, 32])
def test_nothing_undefined_happens(native: NativeDecoder, tmp_path: Path, bits: int) -> None:
    """The same answers from a build in which undefined behaviour traps."""
    checked = build(tmp_path, ["-fsanitize=undefined", "-fsanitize-trap=undefined"])
    for strings in corpus.random_strings(11, 20_000, bits).values():
        assert list(checked.each(strings, corpus.STRIDE, bits)) == list(native.each(strings, corpus.STRIDE, bits))
