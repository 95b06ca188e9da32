"""What instructions access, from their bytes."""

from __future__ import annotations

import pytest

from stemrw.sense.code import decode, follows_call
from stemrw.sense.ptrace import REGISTERS

VALUES = {name: 0x10000 * (number + 1) for number, name in enumerate(REGISTERS)}
RDI, RSI, RSP, RBP, RAX = (VALUES[name] for name in ("rdi", "rsi", "rsp", "rbp", "rax"))


@pytest.mark.parametrize(
    ("code", "accesses"),
    [
        ("c70701000000", [(RDI, 4, "write")]),  # mov dword [rdi], 1
        ("8b07", [(RDI, 4, "read")]),  # mov eax, [rdi]
        ("480107", [(RDI, 8, "write")]),  # add [rdi], rax
        ("483907", [(RDI, 8, "read")]),  # cmp [rdi], rax
        ("c5fe7f45d0", [(RBP - 0x30, 32, "write")]),  # vmovdqu [rbp-0x30], ymm0
        ("f3a4", [(RDI, 0, "write"), (RSI, 0, "read")]),  # rep movsb
        ("f3a6", [(RSI, 0, "read"), (RDI, 0, "read")]),  # repe cmpsb
        ("0fae07", [(RDI, 512, "write")]),  # fxsave [rdi]
        ("67f0480fc10f", [(RDI, 8, "write")]),  # lock xadd [edi], rcx
        ("64488b042528000000", [(VALUES["fs_base"] + 0x28, 8, "read")]),  # mov rax, fs:[0x28]
        ("488b0510000000", [(0x400017, 8, "read")]),  # mov rax, [rip+0x10]
        ("e800000000", [(RSP - 8, 8, "write")]),  # call
        ("c3", [(RSP, 8, "read")]),  # ret
        ("488d07", []),  # lea rax, [rdi]
        ("c4e2f9920c3f", []),  # vgatherdpd: addresses are in a vector
    ],
)
def test_accesses(code: str, accesses: list[tuple[int, int, str]]) -> None:
    decoded = decode(bytes.fromhex(code), 0x400000, VALUES)
    assert decoded is not None
    assert [(access.address, access.size, access.kind) for access in decoded.accesses] == accesses


def test_text_speaks_of_link_time_addresses() -> None:
    decoded = decode(bytes.fromhex("e8fb000000"), 0x7F0000001000, VALUES, 0x1000)
    assert decoded is not None and decoded.text == "call 0x1100"


@pytest.mark.parametrize("code", ["", "0f", "06", "ffff"])
def test_no_instruction(code: str) -> None:
    assert decode(bytes.fromhex(code), 0, VALUES) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("9090e811223344", True),
        ("9090909090ffd0", True),
        ("41ff942410000000", True),
        ("ff5008", True),
        ("ffe0", False),  # jmp rax
        ("9090909090909090", False),
        ("e8112233", False),
        ("", False),
    ],
)
def test_what_follows_a_call(code: str, expected: bool) -> None:
    assert follows_call(bytes.fromhex(code)) is expected
