"""The gate: what the jump at a patched entry leads to.

    function's entry ── jmp ──▶ gate:  lea  rsp, [rsp-128]     below the red zone of code that is not a function
                                       push r11
                                       lea  r11, [its struct patch]
                                       jmp  gate_region | gate_start | gate_observe   (runtime image, by kind)

Flags and all other registers reach the runtime untouched.  The contract is the end of runtime/include/abi.h.
"""

from __future__ import annotations

import capstone

from stemrw.errors import BinaryError
from stemrw.rewrite._displace import jump, relative

GATE_SIZE = 24
"""Bytes of one gate, padded to a multiple of 8."""
_capstone = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def make_gate(at: int, patch: int, handler: int) -> bytes:
    """The gate for the address `at`; `patch` and `handler` are addresses too."""
    code = bytes.fromhex("488d642480 4153")
    code += b"\x4c\x8d\x1d" + relative(at + len(code) + 7, patch)
    code += jump(at + len(code), handler)
    _check(code, at, patch, handler)
    return code.ljust(GATE_SIZE, b"\xcc")


def _check(code: bytes, at: int, patch: int, handler: int) -> None:
    """Disassemble what was encoded by hand: no byte reaches a file unread."""
    text = [f"{mnemonic} {operands}" for _, _, mnemonic, operands in _capstone.disasm_lite(code, at)]
    distance = patch - (at + 14)
    displacement = f"{'+' if distance >= 0 else '-'} {hex(abs(distance)) if abs(distance) > 9 else abs(distance)}"
    expected = ["lea rsp, [rsp - 0x80]", "push r11", f"lea r11, [rip {displacement}]", f"jmp {handler:#x}"]
    if text != expected:
        raise BinaryError(f"the gate was encoded wrongly: {text}", address=at, hint="this is a bug of stemrw")
