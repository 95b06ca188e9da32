"""Follow one value through code: what becomes of a register's content from an address on.

Used for two questions: what does a caller do with the result right after the call, and which constants does a function
return. The follower is shallow on purpose: it walks a bounded number of instructions along both sides of branches,
knows copies between registers and slots of the frame, and stops at the first thing that says what the value is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from stemrw.image import Instruction
from stemrw.plan._arithmetic import place
from stemrw.plan._operands import ARGUMENTS, CALLEE_SAVED, REGISTERS, Operands, number, operands


class Use(StrEnum):
    """What happened to the value first, on one path."""

    TESTED = "tested"  # compared with zero, a constant or memory, then branched on
    DEREFERENCED = "dereferenced"  # used as an address
    PASSED = "passed"  # handed to another function as argument
    RETURNED = "returned"  # still in the result register when the function returns
    STORED = "stored"
    COMPUTED = "computed"  # entered arithmetic
    DROPPED = "dropped"  # overwritten in every place it was in
    LOST = "lost"  # the walk ended before anything happened


@dataclass(frozen=True, slots=True)
class Sighting:
    """One use of the value: the instruction, the operand size (bytes, 0 unknown), the constant it was compared with.

    `condition` is the jump or set mnemonic that consumed a comparison. `argument` is the register it was passed in.
    """

    use: Use
    instruction: Instruction | None = None
    size: int = 0
    constant: int | None = None
    condition: str = ""
    argument: str = ""


def follow(
    code: Callable[[int], Instruction | None], start: int, register: str, *, budget: int = 200, branches: int = 5
) -> list[Sighting]:
    """First use of the value in `register` on every path from `start`, at most `budget` instructions in all.

    `code` gives the instruction at an address, or None where the function ends. `branches` bounds how many undecided
    conditional jumps one path follows to both sides.
    """
    found: list[Sighting] = []
    work: deque[_Path] = deque((_Path(start, frozenset((register,)), branches, None),))
    seen: set[tuple[int, frozenset[str]]] = set()
    while work:
        path = work.popleft()  # the shortest ways first, so that a small budget sees what is near
        instruction = code(path.address)
        if instruction is None or budget == 0:
            found.append(path.noted or Sighting(Use.LOST))
            continue
        if (path.address, path.holders) in seen:
            continue
        seen.add((path.address, path.holders))
        budget -= 1
        sighting, holders = _step(instruction, path.holders, code)
        if sighting is not None and (sighting.use is Use.STORED or _is_sentinel_test(sighting)):
            path = replace(path, noted=path.noted or sighting)  # says little; the value may still be used
        elif sighting is not None:
            end = path.noted if sighting.use is Use.DROPPED else None
            found.append(end or sighting)
            continue
        target = instruction.target
        ways = [] if instruction.is_stop else [instruction.end]
        if instruction.is_jump and target is not None:
            ways.append(target)
        left = path.branches - (len(ways) > 1)
        if not ways or left < 0:
            found.append(path.noted or Sighting(Use.LOST, instruction))
            continue
        work.extend(_Path(way, holders, left, path.noted) for way in ways)
    return found


@dataclass(frozen=True, slots=True)
class _Path:
    address: int
    holders: frozenset[str]
    branches: int
    noted: Sighting | None


def _is_sentinel_test(sighting: Sighting) -> bool:
    """A comparison with something that is not a constant: an error value is rarely equal to it, so read on."""
    return sighting.use is Use.TESTED and sighting.constant is None


def _step(
    instruction: Instruction, holders: frozenset[str], code: Callable[[int], Instruction | None]
) -> tuple[Sighting | None, frozenset[str]]:
    """Effect of one instruction on the set of registers that hold the value, or the use that ends this path."""
    if instruction.is_return:
        return Sighting(Use.RETURNED if "rax" in holders else Use.DROPPED, instruction), holders
    ops = operands(instruction)
    mnemonic = instruction.mnemonic.rpartition(" ")[2]
    if ops.address & holders:
        return Sighting(Use.DEREFERENCED, instruction), holders
    if instruction.is_call:
        if ops.read & holders:
            return Sighting(Use.DEREFERENCED, instruction), holders  # the result is a function that is called
        passed = [a for a in ARGUMENTS if a in holders]
        if passed:
            return Sighting(Use.PASSED, instruction, argument=passed[0]), holders
        kept = frozenset(h for h in holders if h in CALLEE_SAVED or h.startswith("["))
        return (None if kept else Sighting(Use.DROPPED, instruction)), kept
    if "rsp" in ops.written or mnemonic in ("push", "pop"):
        holders = frozenset(h for h in holders if not h.startswith("[rsp"))
    slots = [at[0] if (at := place(part)) is not None and "[" in part else "" for part in ops.parts]
    copies = mnemonic in ("mov", "movsxd", "movzx", "movsx", "cdqe")
    touched = ops.read & holders or holders.intersection(slots[copies:])
    if mnemonic in ("test", "cmp") and touched:
        return _comparison(instruction, ops, holders, code), holders
    if touched and copies:
        if any(slots[:1]):
            return None, holders.union(slots[:1])
        if ops.stores:
            size = max(REGISTERS[p][1] for p in ops.parts if p in REGISTERS)
            return Sighting(Use.STORED, instruction, size=size), holders
        return None, holders | ops.written
    if touched and mnemonic in ("push",):
        return Sighting(Use.STORED, instruction, size=8), holders
    if touched:
        return Sighting(Use.COMPUTED, instruction), holders
    kept = holders - ops.written - (set(slots[:1]) if mnemonic.startswith("mov") else set())
    return (None if kept else Sighting(Use.DROPPED, instruction)), kept


def _comparison(
    instruction: Instruction, ops: Operands, holders: frozenset[str], code: Callable[[int], Instruction | None]
) -> Sighting:
    """A test or cmp of the value, with the branch that consumes the flags."""
    size = next((at[1] for part in ops.parts if (at := place(part)) is not None and at[0] in holders), 0)
    constant: int | None = None
    if instruction.mnemonic == "test":
        constant = 0 if len(ops.parts) == 2 and ops.parts[0] == ops.parts[1] else None
    else:
        constant = number(ops.parts[-1], size)
    condition, address = "", instruction.end
    for _ in range(6):  # moves and lea may stand between comparison and branch
        after = code(address)
        if after is None:
            break
        if after.is_jump or after.mnemonic.startswith(("set", "cmov")):
            condition = after.mnemonic
            break
        address = after.end
    return Sighting(Use.TESTED, instruction, size=size, constant=constant, condition=condition)
