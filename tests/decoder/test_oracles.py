"""decode() against two independent decoders, on real programs and on random bytes.

iced-x86 is asked about every field, capstone about lengths and branches.  `scripts/decoder_campaign` does the same on
all programs of a machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from decoder import branches, corpus, oracle
from decoder.native import Census, NativeDecoder
from iced_x86 import Decoder

DISTINCT = 60_000
RANDOM = 3_000


def test_there_are_programs_to_compare_on() -> None:
    assert corpus.LIBRARIES / "libc.so.6" in corpus.programs()


@pytest.mark.parametrize("path", corpus.programs(), ids=lambda path: path.name)
def test_every_field_is_what_iced_x86_says_on_programs(native: NativeDecoder, path: Path) -> None:
    comparison, seen = oracle.Comparison(), set[bytes]()
    for bits, address, code in corpus.code_of(path):
        comparison.sweep(native, code, address, bits, seen, DISTINCT - comparison.compared)
    assert comparison.compared >= 1_000
    assert not comparison.differences, "\n".join(comparison.differences[:20])
    assert sum(comparison.allowed.values()) <= comparison.compared // 1000


@pytest.mark.parametrize("path", corpus.programs(), ids=lambda path: path.name)
def test_lengths_and_branches_are_what_capstone_says_on_programs(native: NativeDecoder, path: Path) -> None:
    comparison = branches.Comparison()
    for bits, _, code in corpus.code_of(path):
        census = Census(native, bits)
        for at in census.new_in(code):
            string = code[at : at + corpus.STRIDE]
            record = native.one(string, branches.ADDRESS, bits)
            if record is not None:
                comparison.check(string, bits, record)
    assert comparison.compared >= 500
    assert not comparison.differences, "\n".join(comparison.differences[:20])


@pytest.mark.parametrize("bits", [64, 32])
def test_every_field_is_what_iced_x86_says_on_random_bytes(native: NativeDecoder, bits: int) -> None:
    comparison = oracle.Comparison()
    for strings in corpus.random_strings(2026, RANDOM, bits).values():
        comparison.strings(native, strings, bits)
    assert not comparison.differences, "\n".join(comparison.differences[:20])


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("escape", [b"", b"\x0f"], ids=["one-byte", "two-byte"])
def test_every_opcode_with_every_register_field(native: NativeDecoder, escape: bytes, bits: int) -> None:
    """Each opcode with each ModRM.reg, in memory and in register form, under each mandatory prefix and W."""
    comparison = oracle.Comparison()
    heads = [b"", b"\x66", b"\xf3", b"\xf2"] + ([b"\x48", b"\x66\x48", b"\xf3\x48"] if bits == 64 else [])
    strings = b"".join(
        (head + escape + bytes([opcode, form | reg << 3 | rm])).ljust(corpus.STRIDE, b"\x24")
        for head in heads
        for opcode in range(256)
        for reg in range(8)
        for form, rm in ((0x00, 5), (0x44, 4), (0xC0, 1))
    )
    comparison.strings(native, strings, bits)
    assert not comparison.differences, "\n".join(comparison.differences[:20])


def test_the_comparison_notices_every_kind_of_mistake(native: NativeDecoder) -> None:
    """The oracle is worth nothing if it compares nothing: falsify each field in turn."""
    code = bytes.fromhex("f0480fb14c9d10").ljust(corpus.STRIDE, b"\x90")  # lock cmpxchg [rbp+rbx*4+0x10], rcx
    record = native.one(code)
    assert record is not None
    fields = (
        "length", "displacement_size", "lock", "repeat", "vex", "flow", "stack", "stack_bytes", "memory", "access",
        "base", "index", "scale", "rip_relative", "bit_offset", "operand_bytes", "displacement", "immediate_size",
        "target", "reads", "writes", "flags_read", "flags_written", "segment", "opcode_offset", "modrm_offset",
        "rex_offset",
    )  # fmt: skip
    for name in fields:
        comparison = oracle.Comparison()
        wrong = record._replace(**{name: getattr(record, name) ^ 1})
        comparison.check(Decoder(64, code, ip=0x1000), code, 64, wrong)
        assert comparison.differences, name
