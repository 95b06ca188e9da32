"""Where a function keeps errno's address while it calls another: compilers ask for it once, and keep it at hand."""

from __future__ import annotations

from stemrw.image import Function, Instruction
from stemrw.plan._arithmetic import place
from stemrw.plan._operands import CALLEE_SAVED, operands
from stemrw.plan._reading import Reading

ASKS = "__errno_location"
"""The C library's function that returns errno's address."""
_STEPS = 400


def errno_places(reading: Reading, function: Function, behind: int) -> frozenset[str]:
    """Registers and slots of the frame that may hold errno's address when the call that ends at `behind` returns."""
    read = reading.code(function)
    asking = [i for i in reading.image.whole_body(function) if i.is_call and reading.image.called_name(i) == ASKS]
    work = [(call.end, frozenset(("rax",))) for call in asking]
    found: set[str] = set()
    seen: set[tuple[int, frozenset[str]]] = set()
    while work and len(seen) < _STEPS:
        address, held = work.pop()
        instruction = read(address)
        if instruction is None or not held or (address, held) in seen:
            continue
        seen.add((address, held))
        held = _moved(instruction, held)
        if instruction.is_call and instruction.end == behind:
            found |= held
            continue
        if instruction.is_jump and instruction.target is not None:
            work.append((instruction.target, held))
        if not instruction.is_stop:
            work.append((instruction.end, held))
    return frozenset(found)


def _moved(instruction: Instruction, held: frozenset[str]) -> frozenset[str]:
    """The places behind an instruction, from those before it."""
    if instruction.is_call:
        return frozenset(where for where in held if where in CALLEE_SAVED or where.startswith("["))
    ops = operands(instruction)
    if "rsp" in ops.written or instruction.mnemonic in ("push", "pop"):
        held = frozenset(where for where in held if not where.startswith("[rsp"))
    if instruction.mnemonic == "mov" and len(ops.parts) == 2:
        to, source = place(ops.parts[0]), place(ops.parts[1])
        if to is not None:
            copies = source is not None and source[0] in held and to[1] == 8
            return held | {to[0]} if copies else held - {to[0]}
    return held - ops.written
