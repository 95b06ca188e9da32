"""Comparison of decode() with iced-x86: one instruction after the other, or a whole sweep."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from iced_x86 import Decoder, Instruction, InstructionInfoFactory

from decoder.allowed import explain
from decoder.corpus import STRIDE
from decoder.expectation import MNEMONICS, Expectation, compare
from decoder.native import NativeDecoder, Record

LONGEST = 15


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
        if fields:
            text = ", ".join(f"{name} {got:#x} not {wanted:#x}" for name, (wanted, got) in fields.items())
            self._report(code[: record.length], bits, text)

    def _report(self, code: bytes, bits: int, text: str) -> None:
        mnemonic = MNEMONICS[self._instruction.mnemonic]
        self.differences.append(f"{code.hex()} ({bits}-bit {mnemonic}: {self._instruction}): {text}")

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
            encoding = code[at : at + (record.length or LONGEST)]
            if encoding not in seen:
                seen.add(encoding)
                decoder.position, decoder.ip = at, address + at
                self.check(decoder, encoding, bits, record)
                compared += 1
                if compared == limit:
                    return
            at += record.length or 1
