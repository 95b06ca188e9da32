"""Comparison of decode() with iced-x86: one instruction after the other, or a whole sweep."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from decoder.allowed import explain
from decoder.corpus import STRIDE
from decoder.expectation import MNEMONICS, OPERANDS, Expectation, compare
from decoder.native import NativeDecoder, Record
from iced_x86 import Decoder, Instruction, InstructionInfoFactory, OpCodeInfo

LONGEST = 15


def misplaced(code: bytes, instruction: Instruction, record: Record) -> str | None:
    """What is wrong with where the parts lie, judged by the bytes: opcode, ModRM, REX, displacement, immediate."""
    info = OpCodeInfo(instruction.code)
    opcode = info.op_code >> 8 if info.op_code_len == 2 else info.op_code
    span = 7 if any(OPERANDS[kind].endswith("_OPCODE") for kind in info.op_kinds()) else 0
    if not opcode & 0xFF <= code[record.opcode_offset] <= (opcode & 0xFF) + span:
        return f"opcode offset {record.opcode_offset}"
    if record.modrm_offset not in (0, record.opcode_offset + 1):
        return f"ModRM offset {record.modrm_offset}"
    if record.rex and (code[record.rex_offset] != record.rex or record.rex & 0xF0 != 0x40):
        return f"REX offset {record.rex_offset}"
    after = record.opcode_offset + 1 + (record.modrm_offset > 0)
    sib = record.modrm_offset and code[record.modrm_offset] < 0xC0 and code[record.modrm_offset] & 7 == 4
    end = after + bool(sib and not info.ignores_mod_bits) + record.displacement_size + record.immediate_size
    slack = 1 if sib else 0  # 16-bit addressing has no SIB byte
    if not end - slack <= record.length <= end:
        return f"parts end at {end}, the instruction at {record.length}"
    return None


@dataclass
class Comparison:
    """What was compared and what came out."""

    compared: int = 0
    allowed: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    _factory: InstructionInfoFactory = field(default_factory=InstructionInfoFactory)
    _instruction: Instruction = field(default_factory=Instruction)

    def check(self, decoder: Decoder, code: bytes, bits: int, record: Record) -> None:
        """Compare `record` with what `decoder` makes of its current position, where `code` lies."""
        instruction = self._instruction
        decoder.decode_out(instruction)
        self.compared += 1
        if (0 if instruction.is_invalid else instruction.len) != record.length:
            reason = explain(code, bits, instruction, record)
            if reason is None:
                self._report(code, bits, f"length {record.length}, iced-x86 says {instruction.len}")
            else:
                self.allowed[reason] += 1
            return
        if not record.length:
            return
        fields = compare(Expectation(decoder, instruction, self._factory, bits), record)
        if flaw := misplaced(code, instruction, record):
            self._report(code[: record.length], bits, flaw)
        if fields:
            text = ", ".join(f"{name} {got:#x} not {wanted:#x}" for name, (wanted, got) in fields.items())
            self._report(code[: record.length], bits, text)

    def _report(self, code: bytes, bits: int, text: str) -> None:
        mnemonic = MNEMONICS[self._instruction.mnemonic]
        self.differences.append(f"{code.hex()} ({bits}-bit {mnemonic}: {self._instruction}): {text}")

    def at(self, decoder: Decoder, code: bytes, offset: int, bits: int, record: Record) -> None:
        """Compare on the instruction at `offset` of `code`, which `decoder` decodes."""
        decoder.position = offset
        decoder.ip = 0x1000
        self.check(decoder, code[offset : offset + LONGEST], bits, record)

    def strings(self, native: NativeDecoder, codes: bytes, bits: int) -> None:
        """Compare on strings of STRIDE bytes."""
        for i, record in enumerate(native.each(codes, STRIDE, bits)):
            code = codes[i * STRIDE : (i + 1) * STRIDE]
            self.check(Decoder(bits, code, ip=0x1000 + i * STRIDE), code, bits, record)

    def sweep(self, native: NativeDecoder, code: bytes, address: int, bits: int, seen: set[bytes], limit: int) -> None:
        """Compare on a linear sweep over `code`, each distinct encoding once, at most `limit` of them."""
        decoder = Decoder(bits, code, ip=address)
        at = compared = 0
        for record in native.sweep(code, address, bits):
            if compared >= limit:
                return
            encoding = code[at : at + (record.length or LONGEST)]
            if encoding not in seen:
                seen.add(encoding)
                decoder.position, decoder.ip = at, address + at
                self.check(decoder, encoding, bits, record)
                compared += 1
            at += record.length or 1
