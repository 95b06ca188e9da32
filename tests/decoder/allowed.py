"""The differences between decode() and iced-x86 about what is an instruction at all; there are no others.

Each has a reason that is checked, not only stated: see `explain`.
"""

from __future__ import annotations

from decoder.expectation import FLOW, MNEMONICS
from decoder.native import Record
from iced_x86 import Decoder, DecoderOptions, EncodingKind, Instruction, OpCodeInfo

_LEGACY_PREFIXES = frozenset({0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3})


def explain(code: bytes, bits: int, instruction: Instruction, record: Record) -> str | None:
    """Why decode() and iced-x86 may disagree about the validity of `code`; None if they may not."""
    if not record.length and not instruction.is_invalid:
        return _rejected(code, instruction)
    if record.length and instruction.is_invalid:
        return _accepted(code, bits, record)
    return None


def _rejected(code: bytes, instruction: Instruction) -> str | None:
    if OpCodeInfo(instruction.code).encoding == EncodingKind.D3NOW:
        return "3DNow! is refused: no processor since 2011 has it"
    near = (
        instruction.is_call_near
        or instruction.is_call_near_indirect
        or instruction.is_jmp_short_or_near
        or instruction.is_jmp_near_indirect
        or instruction.is_jcc_short_or_near
        or instruction.is_loop
        or instruction.is_loopcc
        or instruction.is_jcx_short
        or MNEMONICS[instruction.mnemonic] == "RET"
    )
    if near and _sixteen_bit(code):
        return "near branches with 16-bit operand size are refused: AMD truncates the target, Intel does not"
    return None


def _sixteen_bit(code: bytes) -> bool:
    """A 66 prefix, and no REX.W right before the opcode."""
    prefixes = 0
    while code[prefixes] in _LEGACY_PREFIXES or code[prefixes] & 0xF0 == 0x40:
        prefixes += 1
    wide = prefixes > 0 and code[prefixes - 1] & 0xF8 == 0x48
    return 0x66 in code[:prefixes] and not wide


def _accepted(code: bytes, bits: int, record: Record) -> str | None:
    """Encodings that iced-x86 knows but rejects for a field that changes neither length nor operands.

    The translator passes such an instruction on verbatim, so the processor itself raises the #UD.
    """
    lenient = Decoder(bits, code, DecoderOptions.NO_INVALID_CHECK).decode()
    if lenient.is_invalid or lenient.len != record.length:
        return None
    mnemonic = MNEMONICS[lenient.mnemonic]
    if mnemonic == "MOV" and record.flow == FLOW["FLOW_TRAP"]:
        return "a control register that does not exist: privileged anyway"
    if mnemonic == "PTWRITE" and 0x66 in code[: record.opcode_offset]:
        return "66 before ptwrite with REX.W: the only instruction for which 66 matters beside F3 and REX.W"
    return None
