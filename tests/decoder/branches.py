"""Comparison of decode() with capstone: length, kind of branch and target, nothing else.

Capstone is an independent decoder (its tables come from LLVM), but its access information is known to be wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import capstone
from decoder.expectation import FLOW
from decoder.native import Record

ADDRESS = 0x1000
_NAMES = {value: name.removeprefix("FLOW_") for name, value in FLOW.items()}
_PREFIXES = re.compile(r"^(?:(?:rep|repe|repne|repz|repnz|lock|bnd|notrack|xacquire|xrelease|data16|addr32) )+")


def _flow(mnemonic: str, operands: str) -> str | None:
    """FLOW_… (without FLOW_) by the text that capstone prints; None for what is no near branch."""
    direct = operands.startswith("0x")
    if mnemonic == "jmp":
        return "JUMP" if direct else "JUMP_INDIRECT"
    if mnemonic == "call":
        return "CALL" if direct else "CALL_INDIRECT"
    if mnemonic == "ret":
        return "RETURN"
    if mnemonic in ("loop", "loope", "loopne", "jcxz", "jecxz", "jrcxz"):
        return "LOOP"
    return "BRANCH" if mnemonic.startswith("j") and direct else None


@dataclass
class Comparison:
    """What was compared and what came out."""

    compared: int = 0
    allowed: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    _decoders: dict[int, capstone.Cs] = field(
        default_factory=lambda: {
            64: capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64),
            32: capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32),
        }
    )

    def check(self, code: bytes, bits: int, record: Record) -> None:
        """Compare on the first instruction of `code`, which `record` describes (decoded at ADDRESS or anywhere)."""
        found = next(self._decoders[bits].disasm_lite(code, ADDRESS, 1), None)
        self.compared += 1
        if found is None or not record.length:
            return self._one_only(code, bits, record, found)
        _, size, name, operands = found
        mnemonic = _PREFIXES.sub("", name)
        problems = []
        if size != record.length and mnemonic in ("ud0", "ud1"):
            self.allowed["ud0 and ud1 have a ModRM byte (Intel SDM), which capstone forgets; both only trap"] += 1
        elif size != record.length:
            problems.append(f"length {record.length}, capstone says {size}")
        flow = _flow(mnemonic, operands)
        near = _NAMES[record.flow] if FLOW["FLOW_JUMP"] <= record.flow <= FLOW["FLOW_RETURN"] else None
        if near is None and record.flow == FLOW["FLOW_FAR"] and code[record.opcode_offset] == 0xFF:
            self.allowed["far call or jmp through memory (FF /3, FF /5), which capstone prints like a near one"] += 1
        elif flow != near:
            problems.append(f"flow {near}, capstone says {flow}")
        elif flow in ("JUMP", "CALL", "BRANCH", "LOOP"):
            target = ADDRESS + record.length + record.immediate & (1 << bits) - 1
            if target != int(operands, 16):
                problems.append(f"target {target:#x}, capstone says {operands}")
        if problems:
            self._report(code, bits, f"{name} {operands}", "; ".join(problems))
        return None

    def _one_only(self, code: bytes, bits: int, record: Record, found: tuple[int, int, str, str] | None) -> None:
        """What only one of the two decodes is counted; whether it is valid is settled with iced-x86 (allowed.py)."""
        if found is not None:
            self.allowed["capstone alone decodes it; validity is compared with iced-x86"] += 1
        elif record.length:
            self.allowed["capstone does not know it; all fields are compared with iced-x86"] += 1

    def _report(self, code: bytes, bits: int, text: str, problem: str) -> None:
        self.differences.append(f"{code.hex()} ({bits}-bit {text}): {problem}")
