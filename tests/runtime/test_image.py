"""What the runtime image must be, whatever it does."""

from __future__ import annotations

import re
from pathlib import Path

import capstone

from stemrw.runtime import load_image

_FIRST_TABLES = ("children", "classes", "rules", "argument_registers", "bytes_")
"""Constants; code lies before the first of them."""


def test_c_code_touches_no_vector_register() -> None:
    """Vector and x87 registers are the program's: translated code does not save them before it asks C.

    A checkpoint reads the x87 control word; what the allocator is asked at a commit is between fxsave64 and fxrstor64;
    snapshots are made by the same;
    cmpxchg16b has its operand only by name.
    """
    image = load_image()
    code_end = min(offset for name, offset in image.symbols.items() if name in _FIRST_TABLES)
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    functions = sorted({offset for offset in image.symbols.values() if 0 < offset < code_end})
    assembly = ("rescue_entry", "vector_read", "mask_read", "allocator_free", "safe_exchange_begin", "snapshot_")
    allowed = {offset for name, offset in image.symbols.items() if name.startswith(assembly)}
    for start, end in zip(functions, [*functions[1:], code_end], strict=True):
        if start in allowed:
            continue
        for _, _, mnemonic, operands in decoder.disasm_lite(image.data[start:end], start):
            touches = "mm" in operands or (mnemonic.startswith("f") and mnemonic != "fnstcw")  # a checkpoint reads it
            assert not touches, (hex(start), mnemonic, operands)


def test_every_reason_has_a_name() -> None:
    """`stemrw status` would show a number."""
    header = Path(__file__).parents[2] / "runtime" / "include" / "state.h"
    assert set(re.findall(r"\bREASON_\w+(?= =)", header.read_text())) <= load_image().constants.keys()
