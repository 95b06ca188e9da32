"""Moved instructions do what they did: checked on every function entry of real programs, and one by one."""

from __future__ import annotations

import struct
from pathlib import Path

import capstone
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iced_x86 import Decoder, Mnemonic

from stemrw.errors import BinaryError
from stemrw.rewrite._displace import NO_BOUNDARY, Displaced, displace
from stemrw.rewrite._gate import make_gate
from stemrw.runtime import load_image

HERE, THERE = 0x401000, 0x7FF000


def move(code: bytes, to: int = THERE) -> Displaced:
    instructions = list(Decoder(64, code, ip=HERE))
    return displace(instructions, code, to)


def text(displaced: Displaced, to: int = THERE) -> list[str]:
    """The copies as another disassembler than the rewriter's reads them."""
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    return [f"{mnemonic} {operands}".strip() for _, _, mnemonic, operands in engine.disasm_lite(displaced.code, to)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("55 4889e5 4157", ["push rbp", "mov rbp, rsp", "push r15", "jmp 0x401006"]),
        ("488b0510000000", ["mov rax, qword ptr [rip - 0x3fdff0]", "jmp 0x401007"]),
        ("813d10000000 78563412", ["cmp dword ptr [rip - 0x3fdff0], 0x12345678", "jmp 0x40100a"]),
        ("c5f8280510000000", ["vmovaps xmm0, xmmword ptr [rip - 0x3fdff0]", "jmp 0x401008"]),
        ("eb10 90 90 90", ["jmp 0x401012", "nop", "nop", "nop", "jmp 0x401005"]),
        ("e910000000", ["jmp 0x401015", "jmp 0x401005"]),
        ("85ff 7410 90", ["test edi, edi", "je 0x401014", "nop", "jmp 0x401005"]),
        ("85ff 0f8510000000", ["test edi, edi", "jne 0x401018", "jmp 0x401008"]),
        ("3e7410 90 90", ["je 0x401013", "nop", "nop", "jmp 0x401005"]),
        ("0f05 4889c3", ["syscall", "mov rbx, rax", "jmp 0x401005"]),
    ],
)
def test_copy_reads_as_meant(code: str, expected: list[str]) -> None:
    assert text(move(bytes.fromhex(code))) == expected


@pytest.mark.parametrize(
    ("code", "name"),
    [("e310", "jrcxz"), ("e210", "loop"), ("67e310", "jecxz"), ("e110", "loope")],
)
def test_short_only_branches_go_over_a_trampoline(code: str, name: str) -> None:
    raw = bytes.fromhex(code)
    padded = raw + b"\x90" * (5 - len(raw))
    target = HERE + len(raw) + 0x10
    at = THERE + len(raw)
    expected = [f"{name} {at + 2:#x}", f"jmp {at + 7:#x}", f"jmp {target:#x}"]
    assert text(move(padded))[:3] == expected


def test_call_pushes_the_original_return_address() -> None:
    lines = text(move(bytes.fromhex("e810000000")))
    returns = THERE + 5 + 7  # end of the lea
    assert lines[:6] == [
        "mov qword ptr [rsp - 0x10], rax",
        f"lea rax, [rip - {returns - (HERE + 5):#x}]",
        "mov qword ptr [rsp - 8], rax",
        "mov rax, qword ptr [rsp - 0x10]",
        "lea rsp, [rsp - 8]",
        f"jmp {HERE + 0x15:#x}",
    ]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("ffd0 90 90 90", "return address lies within"),
        ("90 90 ff542408", "depends on the stack pointer"),
        ("678b0510000000", "relative to eip"),
        ("c7f810000000", "begins a transaction"),
        ("90 90 ff1c25 00000000", "far call"),
    ],
)
def test_what_cannot_be_moved_is_refused(code: str, what: str) -> None:
    with pytest.raises(BinaryError, match=what) as caught:
        move(bytes.fromhex(code))
    assert caught.value.address is not None and caught.value.hint


def test_out_of_reach_is_refused() -> None:
    with pytest.raises(BinaryError, match="out of reach"):
        move(bytes.fromhex("e910000000"), HERE + (1 << 31) + 4096)


def test_boundaries_say_where_each_instruction_went() -> None:
    moved = move(bytes.fromhex("7405 90 4889e5"))
    assert moved.boundaries == bytes([0, NO_BOUNDARY, 6, 7, NO_BOUNDARY, NO_BOUNDARY])


OFFSETS = st.integers(-(1 << 30), 1 << 30)


@given(patch=OFFSETS, handler=OFFSETS, displaced=OFFSETS)
def test_gate_reads_as_its_contract(patch: int, handler: int, displaced: int) -> None:
    at = 1 << 32
    native = load_image().constants["GATE_NATIVE"]
    code = make_gate(at, at + patch, at + handler, at + displaced, native)
    instructions = list(Decoder(64, code, ip=at))[:7]
    assert [str(i) for i in instructions[:2]] == ["lea rsp,[rsp-80h]", "push r11"]
    assert instructions[2].mnemonic == Mnemonic.LEA and instructions[2].ip_rel_memory_address == at + patch
    assert instructions[3].near_branch_target == at + handler
    assert instructions[4].ip == at + native
    assert [str(i) for i in instructions[4:6]] == ["pop r11", "lea rsp,[rsp+80h]"]
    assert instructions[6].near_branch_target == at + displaced


REAL = ["/usr/bin/python3.11", "/usr/bin/dash", "/usr/bin/yasm", "/usr/lib/x86_64-linux-gnu/libc.so.6"]


@pytest.mark.parametrize("path", REAL)
def test_every_entry_of_a_real_program(path: str) -> None:
    """Copies of the entries of all functions: the same instructions in the same order, with the same targets."""
    from elftools.dwarf.callframe import FDE
    from elftools.elf.elffile import ELFFile

    from stemrw.elf import Elf
    from stemrw.rewrite._entry import Target, find_entries
    from stemrw.rewrite._surroundings import Surroundings

    file = Path(path)
    if not file.exists():
        pytest.skip(f"no {path}")
    elf = Elf(file.read_bytes())
    with file.open("rb") as stream:
        frames = [entry for entry in ELFFile(stream).get_dwarf_info().EH_CFI_entries() if isinstance(entry, FDE)]
    around = Surroundings(elf)
    moved = refused = 0
    for frame in frames:
        target = Target(frame["initial_location"], frame["address_range"])
        try:
            (entry,) = find_entries(elf, [target], around)
            copy = displace(entry.instructions, entry.original, 0x8000000)
        except BinaryError:
            refused += 1
            continue
        moved += 1
        instructions = list(entry.instructions)
        if instructions[-1].mnemonic == Mnemonic.CALL:
            instructions.pop()
        for instruction in instructions:
            at = copy.boundaries[instruction.ip - entry.address]
            decoded = Decoder(64, copy.code[at:], ip=0x8000000 + at).decode()
            assert decoded.mnemonic == instruction.mnemonic
            assert decoded.near_branch_target == instruction.near_branch_target
            assert decoded.memory_displacement == instruction.memory_displacement
            if not instruction.near_branch_target:
                assert str(decoded) == str(instruction)
    assert moved > 0.98 * len(frames), f"{refused} of {len(frames)} refused"


def test_record_layout_is_the_headers() -> None:
    """The gate's and record's contract sizes: what Python packs is what C reads."""
    image = load_image()
    packed = image.structs["patch"].pack(address=1, length=7, original=b"\x55", boundaries=b"\xff" * 32)
    assert struct.unpack_from("<Q", packed)[0] == 1
    assert image.structs["patch"].unpack(packed)["length"] == b"\x07"
