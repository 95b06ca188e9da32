"""The runtime's decoder, built as a native library and called in batches through ctypes."""

from __future__ import annotations

import ctypes
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DECODE = ROOT / "runtime" / "decode"
FLAGS = ["-std=c11", "-O2", "-fPIC", "-ffreestanding", "-mgeneral-regs-only", "-Wall", "-Wextra", "-Werror"]


class Record(NamedTuple):
    """struct instruction of decode.h, field by field."""

    length: int
    opcode_offset: int
    modrm_offset: int
    displacement_offset: int
    displacement_size: int
    immediate_offset: int
    immediate_size: int
    rex_offset: int
    rex: int
    vex: int
    segment: int
    lock: bool
    repeat: bool
    address_size_override: bool
    flow: int
    stack: int
    stack_bytes: int
    memory: int
    access: int
    base: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    scale: int
    rip_relative: bool
    bit_offset: bool
    operand_bytes: int
    displacement: int
    immediate: int
    target: int
    reads: int
    writes: int
    flags_read: int
    flags_written: int
    bnd_or_other: bool


LAYOUT = struct.Struct("<11B3?BBHBBBBB??xHiqQHHBB?x")


def enumerators(name: str) -> dict[str, int]:
    """The constants of one `enum name { … }` of decode.h, in order of their values."""
    text = re.sub(r"/\*.*?\*/", "", (DECODE / "decode.h").read_text(), flags=re.S)
    match = re.search(rf"enum {name} {{(.*?)}};", text, re.S)
    assert match, name
    values: dict[str, int] = {}
    following = 0
    for item in filter(None, (part.strip() for part in match.group(1).split(","))):
        key, _, value = (part.strip() for part in item.partition("="))
        following = int(value, 0) if value else following
        values[key] = following
        following += 1
    return values


class _Counts(ctypes.Structure):
    """struct census of driver.c."""

    _fields_ = (("instructions", ctypes.c_uint64), ("invalid", ctypes.c_uint64), ("distinct", ctypes.c_uint64))


class Census:
    """Every instruction met so far, up to displacement and immediate, each reported once; in one mode."""

    TABLE_BITS = 24
    CHUNK = 1 << 16

    def __init__(self, native: NativeDecoder, bits: int) -> None:
        self._native, self._bits = native, bits
        self._table = ctypes.create_string_buffer(8 << self.TABLE_BITS)
        self._offsets = (ctypes.c_uint32 * self.CHUNK)()
        self._counts = _Counts()

    @property
    def instructions(self) -> int:
        return int(self._counts.instructions)

    @property
    def invalid(self) -> int:
        """Bytes at which nothing decoded."""
        return int(self._counts.invalid)

    def new_in(self, code: bytes) -> Iterator[int]:
        """Offsets in `code` of instructions that have not been met before, by linear sweep."""
        at = 0
        while at < len(code):
            at = self._native.library.take_census(
                code, len(code), at, self._bits, self._table, self.TABLE_BITS, self._offsets, self.CHUNK, self._counts
            )
            yield from self._offsets[: self._counts.distinct]


class NativeDecoder:
    """decode() and its batches, loaded from a shared library that `build` made."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.record_size.restype = ctypes.c_size_t
        self.library.sweep.restype = ctypes.c_size_t
        self.library.sweep.argtypes = [
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_uint, ctypes.c_void_p, ctypes.c_size_t,
        ]  # fmt: skip
        self.library.decode_each.argtypes = [
            ctypes.c_void_p, ctypes.c_uint, ctypes.c_size_t, ctypes.c_uint, ctypes.c_void_p,
        ]  # fmt: skip
        self.library.count_instructions.restype = ctypes.c_size_t
        self.library.count_instructions.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint]
        self.library.take_census.restype = ctypes.c_size_t
        self.library.take_census.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(_Counts),
        ]  # fmt: skip
        self.library.decode.restype = ctypes.c_bool
        self.library.decode.argtypes = [
            ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_uint, ctypes.c_void_p,
        ]  # fmt: skip
        assert self.library.record_size() == LAYOUT.size, "Record does not match struct instruction"

    def at(self, pointer: int, available: int, address: int = 0x1000, bits: int = 64) -> Record | None:
        """One instruction at a raw pointer of this process."""
        out = ctypes.create_string_buffer(LAYOUT.size)
        if not self.library.decode(pointer, available, address, bits, out):
            return None
        return Record(*LAYOUT.unpack(out.raw))

    def one(self, code: bytes, address: int = 0x1000, bits: int = 64) -> Record | None:
        buffer = ctypes.create_string_buffer(code, max(1, len(code)))
        return self.at(ctypes.addressof(buffer), len(code), address, bits)

    def sweep(self, code: bytes, address: int, bits: int = 64, limit: int | None = None) -> Iterator[Record]:
        """Linear sweep; a Record of length 0 for a byte at which nothing decodes."""
        capacity = min(limit or len(code), len(code))
        out = ctypes.create_string_buffer(capacity * LAYOUT.size)
        count = self.library.sweep(code, len(code), address, bits, out, capacity)
        return (Record(*fields) for fields in LAYOUT.iter_unpack(memoryview(out)[: count * LAYOUT.size]))

    def count(self, code: bytes, bits: int = 64) -> int:
        """Number of instructions of a linear sweep (no records: for timing)."""
        return int(self.library.count_instructions(code, len(code), bits))

    def each(self, codes: bytes, stride: int, bits: int = 64) -> Iterator[Record]:
        """Strings of `stride` bytes, each decoded on its own at 0x1000 + its offset."""
        count = len(codes) // stride
        out = ctypes.create_string_buffer(count * LAYOUT.size)
        self.library.decode_each(codes, stride, count, bits, out)
        return (Record(*fields) for fields in LAYOUT.iter_unpack(memoryview(out)[: count * LAYOUT.size]))


def build(directory: Path, extra: list[str] | None = None) -> NativeDecoder:
    """Compile decoder and driver with ziglang's compiler (a build dependency) into `directory`."""
    library = directory / "decoder.so"
    sources = [str(DECODE / "decode.c"), str(Path(__file__).with_name("driver.c"))]
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-shared", "-nostdlib"]
    command += [*FLAGS, "-fno-sanitize=undefined", *(extra or []), f"-I{DECODE}", *sources, "-o", str(library)]
    subprocess.run(command, check=True)
    return NativeDecoder(library)
