"""What decode.h promises and no other decoder can vouch for, or what is easily got wrong: one line per promise."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from decoder.expectation import FLOW, MEMORY, STACK
from decoder.native import NativeDecoder, Record, enumerators

ACCESS = enumerators("access")
CONSTANTS = {**FLOW, **MEMORY, **STACK, **ACCESS, **enumerators("flag_bits")}
RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = (1 << number for number in range(8))


class Promise(NamedTuple):
    """The instruction `code` (hexadecimal) has these values; names are constants of decode.h."""

    name: str
    code: str
    fields: dict[str, int | str]
    bits: int = 64


PROMISES = [
    Promise("xchg with memory is locked", "4887 03", {"lock": 1, "access": "ACCESS_READ_WRITE"}),
    Promise("xchg of registers is not locked", "4887 c3", {"lock": 0, "memory": "MEMORY_NONE"}),
    Promise("lea has an operand and no access", "488d 4310", {"memory": "MEMORY_OPERAND", "access": "ACCESS_NONE"}),
    Promise("a long nop has no access", "0f1f 4000", {"memory": "MEMORY_OPERAND", "access": "ACCESS_NONE"}),
    Promise("prefetch has no access", "0f18 08", {"memory": "MEMORY_OPERAND", "access": "ACCESS_NONE"}),
    Promise("cldemote has no access", "0f1c 00", {"memory": "MEMORY_OPERAND", "access": "ACCESS_NONE"}),
    Promise("cmpxchg reads and writes", "0fb1 0b", {"access": "ACCESS_READ_WRITE", "operand_bytes": 4}),
    Promise("cmpxchg16b reads and writes 16", "480fc7 0b", {"access": "ACCESS_READ_WRITE", "operand_bytes": 16}),
    Promise("vmaskmov writes its whole width", "c4e26d2e 03", {"access": "ACCESS_WRITE", "operand_bytes": 32}),
    Promise("a masked store writes its whole width", "62f17c4911 03", {"access": "ACCESS_WRITE", "operand_bytes": 64}),
    Promise("vpcompress writes its whole width", "62f27d4a8a 03", {"access": "ACCESS_WRITE", "operand_bytes": 64}),
    Promise("vpcompress scales disp8 by the element", "62f27d4a8a 4301", {"displacement": 4}),
    Promise("evex scales disp8 by the operand", "62f17c4811 4302", {"displacement": 128}),
    Promise("a broadcast scales disp8 by the element", "62f17c5858 4302", {"displacement": 8, "operand_bytes": 4}),
    Promise("fxsave writes 512 bytes", "0fae 03", {"access": "ACCESS_WRITE", "operand_bytes": 512}),
    Promise("xsave is of unknown size", "0fae 23", {"operand_bytes": 0xFFFF}),
    Promise("xsavec is of unknown size", "0fc7 23", {"operand_bytes": 0xFFFF}),
    Promise("fnsave writes 108 bytes", "dd33", {"access": "ACCESS_WRITE", "operand_bytes": 108}),
    Promise("fnsave of 16 bits writes 94", "66dd33", {"access": "ACCESS_WRITE", "operand_bytes": 94}),
    Promise(
        "push of memory reads and pushes", "ff 33", {"access": "ACCESS_READ", "stack": "STACK_PUSH", "stack_bytes": 8}
    ),
    Promise(
        "pop to memory writes and pops", "8f 03", {"access": "ACCESS_WRITE", "stack": "STACK_POP", "stack_bytes": 8}
    ),
    Promise(
        "call through memory reads and pushes",
        "ff 13",
        {"flow": "FLOW_CALL_INDIRECT", "access": "ACCESS_READ", "stack": "STACK_PUSH", "stack_bytes": 8},
    ),
    Promise("ret pops its argument bytes too", "c2 1000", {"flow": "FLOW_RETURN", "stack_bytes": 24, "immediate": 16}),
    Promise("pop rsp loads it", "5c", {"stack": "STACK_LOADED", "stack_bytes": 8}),
    Promise("push rsp pushes", "54", {"stack": "STACK_PUSH", "reads": RSP, "writes": RSP}),
    Promise("leave", "c9", {"stack": "STACK_LEAVE", "stack_bytes": 8, "memory": "MEMORY_NONE"}),
    Promise("enter is for nobody to guess at", "c8 100001", {"stack": "STACK_LOADED", "memory": "MEMORY_OTHER"}),
    Promise("sub rsp, imm adjusts", "4883ec 28", {"stack": "STACK_ADJUST"}),
    Promise("and rsp, -16 adjusts", "4883e4 f0", {"stack": "STACK_ADJUST"}),
    Promise("lea rsp from rsp adjusts", "488d6424 80", {"stack": "STACK_ADJUST"}),
    Promise("lea rsp from rbp loads", "488d65 d8", {"stack": "STACK_LOADED"}),
    Promise("lea rsp with an index loads", "488d6404 08", {"stack": "STACK_LOADED"}),
    Promise("lea rsp, [esp+8] loads", "67488d6424 08", {"stack": "STACK_LOADED"}),
    Promise("add rsp, rax loads", "4801c4", {"stack": "STACK_LOADED"}),
    Promise("add rsp, [memory] loads", "480323", {"stack": "STACK_LOADED"}),
    Promise("add esp, imm cuts rsp off: loads", "83c4 08", {"stack": "STACK_LOADED"}),
    Promise("add esp, imm adjusts in 32-bit mode", "83c4 08", {"stack": "STACK_ADJUST"}, 32),
    Promise("mov rsp, rbp loads", "4889ec", {"stack": "STACK_LOADED"}),
    Promise("xchg rsp loads", "4894", {"stack": "STACK_LOADED"}),
    Promise("movs writes at rdi", "48a5", {"memory": "MEMORY_STRING", "access": "ACCESS_WRITE", "operand_bytes": 8}),
    Promise("rep movs counts in rcx", "f3a4", {"repeat": 1, "reads": RCX | RSI | RDI, "writes": RCX | RSI | RDI}),
    Promise("movs counts nothing", "a4", {"repeat": 0, "reads": RSI | RDI, "writes": RSI | RDI}),
    Promise("cmps only reads", "a7", {"access": "ACCESS_READ", "flags_written": "FLAGS_ARITHMETIC"}),
    Promise("repe cmps may write no flag", "f3a7", {"access": "ACCESS_READ", "flags_written": 0}),
    Promise("lods writes no memory", "ac", {"access": "ACCESS_NONE", "memory": "MEMORY_STRING"}),
    Promise("maskmovdqu", "660ff7 c1", {"memory": "MEMORY_MASKED", "access": "ACCESS_WRITE", "operand_bytes": 16}),
    Promise("a gather reads elements", "c4e26992 040b", {"memory": "MEMORY_VECTOR", "index": 1, "operand_bytes": 4}),
    Promise("a scatter writes elements", "62f27d49a0 040b", {"access": "ACCESS_WRITE", "operand_bytes": 4}),
    Promise("shl by cl may write no flag", "d3e0", {"flags_written": 0}),
    Promise("shl by an immediate writes flags", "c1e0 05", {"flags_written": "FLAGS_ARITHMETIC"}),
    Promise("shl by 32 of 32 bits writes no flag", "c1e0 20", {"flags_written": 0}),
    Promise("shl by 32 of 64 bits writes flags", "48c1e0 20", {"flags_written": "FLAGS_ARITHMETIC"}),
    Promise("rcl by an immediate may write no flag", "c0d0 09", {"flags_written": 0, "flags_read": "FLAG_CF"}),
    Promise("a byte shift with REX.W counts to 31", "48c0e0 20", {"flags_written": 0}),
    Promise("call keeps flags", "e8 00000000", {"flags_written": 0, "target": 0x1005}),
    Promise("ret keeps flags", "c3", {"flags_written": 0}),
    Promise("syscall keeps flags and tells all", "0f05", {"flow": "FLOW_SYSCALL", "flags_written": 0, "reads": 0xFFFF}),
    Promise("int 0x80 is a system call", "cd80", {"flow": "FLOW_SYSCALL", "reads": 0xFF, "writes": RAX}, 32),
    Promise("int 3 in two bytes is a trap", "cd03", {"flow": "FLOW_TRAP"}),
    Promise("hlt is a trap", "f4", {"flow": "FLOW_TRAP"}),
    Promise("ud2 is a trap", "0f0b", {"flow": "FLOW_TRAP"}),
    Promise("jrcxz reads rcx", "e3 10", {"flow": "FLOW_LOOP", "reads": RCX, "target": 0x1012}),
    Promise("loop counts in rcx", "e2 fe", {"flow": "FLOW_LOOP", "writes": RCX, "target": 0x1000}),
    Promise("xbegin has a target", "c7f8 10000000", {"flow": "FLOW_TRANSACTION", "target": 0x1016}),
    Promise("bt m, r is displaced by the bit offset", "480fa3 0b", {"bit_offset": 1, "operand_bytes": 8}),
    Promise("bt m, imm is not", "480fba 2307", {"bit_offset": 0}),
    Promise("ah is a part of rax", "88e3", {"reads": RAX, "writes": RBX}),
    Promise("with REX it is spl", "4088e3", {"reads": RSP, "writes": RBX}),
    Promise("rip-relative", "488b05 10000000", {"rip_relative": 1, "base": 0xFF, "displacement": 16, "reads": 0}),
    Promise("the same bytes in 32-bit mode are absolute", "8b05 10000000", {"rip_relative": 0, "base": 0xFF}, 32),
    Promise("fs in effect", "6448 8b0425 28000000", {"segment": 0x64, "base": 0xFF, "displacement": 0x28}),
    Promise("es means nothing in 64-bit mode", "2648 8b03", {"segment": 0}),
    Promise("ds does not cancel gs in 64-bit mode", "653e8b03", {"segment": 0x65}),
    Promise(
        "moffs", "48a1 8877665544332211", {"displacement_offset": 2, "displacement_size": 8, "access": "ACCESS_READ"}
    ),
    Promise("mov r64, imm64", "48b8 88776655443322f1", {"immediate": -0xEDDCCBBAA998878, "immediate_size": 8}),
    Promise("16-bit addressing", "678b40 f0", {"base": 3, "index": 6, "displacement": -16}, 32),
    Promise("a REX before another prefix is void", "48668b03", {"rex": 0, "operand_bytes": 2}),
    Promise("les is no VEX", "c403", {"vex": 0, "operand_bytes": 6, "bnd_or_other": 1}, 32),
]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
def test_promise(native: NativeDecoder, promise: Promise) -> None:
    code = bytes.fromhex(promise.code)
    record = native.one(code, bits=promise.bits)
    assert record is not None
    assert record.length == len(code)
    wanted = {name: CONSTANTS[value] if isinstance(value, str) else value for name, value in promise.fields.items()}
    assert {name: getattr(record, name) for name in wanted} == wanted


OTHERS = {
    "rdfsbase": "f3480faec0", "wrfsbase": "f3480faed0", "rdgsbase": "f3480faec8", "wrgsbase": "f3480faed8",
    "mov eax, fs": "8ce0", "mov fs, eax": "8ee0", "push fs": "0fa0", "pop gs": "0fa9", "swapgs": "0f01f8",
    "lgdt": "0f0113", "sgdt": "0f0103", "sldt": "0f00c0", "vmcall": "0f01c1", "vmread": "0f78c8", "in": "ec",
    "out": "e6 10", "insb": "6c", "cli": "fa", "wrpkru": "0f01ef", "incsspq": "f3480faee8",
    "monitor": "0f01c8", "encls": "0f01cf", "lss": "0fb203", "bndmk": "f30f1b03", "bndmov": "660f1b03",
}  # fmt: skip
ORDINARY = {
    "endbr64": "f30f1efa", "rdtsc": "0f31", "rdtscp": "0f01f9", "cpuid": "0fa2", "xgetbv": "0f01d0", "pause": "f390",
    "rdsspq": "f3480f1ec8", "lfence": "0faee8", "mfence": "0faef0", "rdpkru": "0f01ee", "rdrand": "0fc7f0",
    "lar": "0f02c3", "nop": "90", "fs load": "648b03", "bnd jmp": "f2eb00", "notrack jmp": "3effe0", "emms": "0f77",
}  # fmt: skip


@pytest.mark.parametrize("code", OTHERS.values(), ids=OTHERS)
def test_other_classes_are_marked(native: NativeDecoder, code: str) -> None:
    record = native.one(bytes.fromhex(code))
    assert record is not None and record.bnd_or_other


@pytest.mark.parametrize("code", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_instructions_are_not(native: NativeDecoder, code: str) -> None:
    record = native.one(bytes.fromhex(code))
    assert record is not None and not record.bnd_or_other


REJECTED = {
    "near call of 16 bits": "66e800000000",
    "near ret of 16 bits": "66c3",
    "near jmp of 16 bits through a register": "66ffe0",
    "3DNow!": "0f0fc19e",
    "APX: REX2": "d51801c0",
    "APX: EVEX map 4": "62f47c0801c0",
    "lock of what cannot be locked": "f08b03",
    "lock of a register": "f001c0",
    "VEX behind REX": "48c5f877",
    "VEX behind 66": "66c5f877",
    "vvvv that must be 1111": "c5e810c1",
    "lea of a register": "8dc0",
    "mov to cs": "8ec8",
    "one-byte opcode of 32-bit mode": "06",
    "gather with equal registers": "c4e269920401",
}


@pytest.mark.parametrize("code", REJECTED.values(), ids=REJECTED)
def test_rejected(native: NativeDecoder, code: str) -> None:
    assert native.one(bytes.fromhex(code)) is None


def test_call_of_16_bits_with_rex_w_is_a_plain_call(native: NativeDecoder) -> None:
    """66 66 48 e8: the padded call of __tls_get_addr, in every position-independent program with thread storage."""
    record: Record | None = native.one(bytes.fromhex("666648e800000000"))
    assert record is not None and record.flow == FLOW["FLOW_CALL"] and record.target == 0x1008
