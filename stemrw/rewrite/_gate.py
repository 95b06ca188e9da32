"""The gate: what the jump at a patched entry leads to.

    function's entry ── jmp ──▶ gate:  lea  rsp, [rsp-128]     below the red zone of code that is not a function
                                       push r11
                                       lea  r11, [its struct patch]
                                       jmp  gate_region | gate_start | gate_observe …  (runtime image, by kind)
                             native:   pop  r11               where the runtime jumps to run the original
                                       lea  rsp, [rsp+128]
                                       jmp  displaced instructions

Flags and all other registers reach the runtime untouched.  The contract is the end of runtime/include/abi.h.
"""

from __future__ import annotations

import capstone

from stemrw.errors import BinaryError
from stemrw.rewrite._displace import jump, relative

GATE_SIZE = 40
"""Bytes of one gate, padded to a multiple of 8."""
_capstone = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def make_gate(at: int, patch: int, handler: int, displaced: int, native_offset: int) -> bytes:
    """The gate for the address `at`; `patch`, `handler` and `displaced` are addresses too.

    `native_offset` is the runtime's GATE_NATIVE: where in the gate it expects the way to the displaced instructions.
    """
    code = bytes.fromhex("488d642480 4153")
    code += b"\x4c\x8d\x1d" + relative(at + len(code) + 7, patch)
    code += jump(at + len(code), handler)
    if len(code) != native_offset:
        raise BinaryError("the runtime image expects another gate", address=at, hint="rebuild the runtime")
    code += bytes.fromhex("415b 488da42480000000")
    code += jump(at + len(code), displaced)
    _check(code, at, patch, handler, displaced)
    return code.ljust(GATE_SIZE, b"\xcc")


def _check(code: bytes, at: int, patch: int, handler: int, displaced: int) -> None:
    """Disassemble what was encoded by hand: no byte reaches a file unread."""
    text = [f"{mnemonic} {operands}" for _, _, mnemonic, operands in _capstone.disasm_lite(code, at)]
    distance = patch - (at + 14)
    displacement = f"{'+' if distance >= 0 else '-'} {hex(abs(distance)) if abs(distance) > 9 else abs(distance)}"
    expected = [
        "lea rsp, [rsp - 0x80]",
        "push r11",
        f"lea r11, [rip {displacement}]",
        f"jmp {handler:#x}",
        "pop r11",
        "lea rsp, [rsp + 0x80]",
        f"jmp {displaced:#x}",
    ]
    if text != expected:
        raise BinaryError(f"the gate was encoded wrongly: {text}", address=at, hint="this is a bug of stemrw")
