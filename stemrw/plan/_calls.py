"""What callers do with a result, without knowing its value: the active caller, the ones around it, all others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from stemrw.image import Function, Instruction
from stemrw.plan._flow import Sighting, Use, follow
from stemrw.plan._operands import CALLEE_SAVED, constant_set, operands
from stemrw.plan._reading import Reading

_MAXIMUM_CALLERS = 24
_NEAR = 10
"""Instructions in which a vector register is looked for."""
_THROUGH = 2
"""Functions into which it is followed."""
_XMM_SOURCE = re.compile(r"\bxmm0\b")


@dataclass(frozen=True, slots=True)
class Site:
    """A call: the address behind it, and the function that it stands in."""

    behind: int
    caller: Function


def uses(reading: Reading, sites: Sequence[Site], depth: int = 3) -> list[Sighting]:
    """What the active caller does with the result; where it hands the result on, what the next one does, and so on."""
    if not sites:
        return []
    found: list[Sighting] = []
    for sighting in follow(reading.code(sites[0].caller), sites[0].behind, "rax"):
        if sighting.use is Use.RETURNED and depth and len(sites) > 1:
            found += uses(reading, sites[1:], depth - 1)
        else:
            found.append(sighting)
    return found


def other_sites(reading: Reading, function: Function, active: Sequence[Site]) -> list[Site]:
    """Calls of a function elsewhere in the file, not the active one."""
    known = active[0].behind if active else None
    calls = islice(reading.image.callers(function), _MAXIMUM_CALLERS)
    return [Site(call.end, caller) for call, caller in calls if call.is_call and call.end != known]


def in_loop(reading: Reading, site: Site) -> bool:
    """Whether a way leads from behind the call back to it."""
    return site.behind in reading.leads_back(site.caller, site.behind)


def takes_double(reading: Reading, site: Site) -> bool:
    """Whether xmm0 is read after the call before it is written, and rax is not."""
    return _takes_vector(reading, site.caller, site.behind, _THROUGH, result="rax")


def _takes_vector(reading: Reading, function: Function, start: int, depth: int, result: str = "") -> bool:
    """Whether xmm0 is read soon, before it is written and `result` is read; also by what is called with it.

    A call of a function with a variable number of arguments reads as many vector registers as al says.
    """
    read, address, vectors = reading.code(function), start, 0
    for _ in range(_NEAR):
        instruction = read(address)
        if instruction is None or instruction.is_return:
            return False
        callee = reading.callee(instruction)
        if instruction.is_call or (instruction.is_unconditional and (callee or reading.image.called_name(instruction))):
            passed_on = depth > 0 and callee is not None and _takes_vector(reading, callee, callee.entry, depth - 1)
            return vectors > 0 or passed_on
        if instruction.is_stop or instruction.is_jump:
            return False
        constant = constant_set(instruction)
        if constant is not None and constant[0] == "rax":
            vectors = constant[1]
        reads = _reads_vector(instruction)
        if reads is not None:
            return reads
        if result in operands(instruction).read | operands(instruction).address:
            return False
        address = instruction.end
    return False


def _reads_vector(instruction: Instruction) -> bool | None:
    """Whether an instruction reads xmm0, rather than only writes it; None: neither."""
    if not _XMM_SOURCE.search(instruction.operands):
        return None
    if instruction.mnemonic.startswith(("pxor", "xorp", "vpxor", "vxorp")):
        return False
    destination, _, source = instruction.operands.partition(",")
    moved = instruction.mnemonic.startswith(("mov", "cvt", "sqrt", "vmov"))
    return bool(_XMM_SOURCE.search(source)) or not (moved and destination.strip() == "xmm0")


def calls_again_at_once(reading: Reading, site: Site) -> bool:
    """Whether a way leads from behind the call back to it on which nothing changes that lasts.

    After a rescue all memory is as it was before the call. If the way back to the call holds no other call, no store
    and no write to a register that outlives it, the next call is the same call, and fails in the same way.
    """
    read = reading.code(site.caller)
    # Registers whose value on this way comes from memory, constants and unchanged registers alone: the same each time.
    work: list[tuple[int, frozenset[str]]] = [(site.behind, frozenset(("rax",)))]
    seen: set[tuple[int, frozenset[str]]] = set()
    while work and len(seen) < 400:
        address, derived = work.pop()
        instruction = read(address)
        if instruction is None or (address, derived) in seen:
            continue
        seen.add((address, derived))
        if instruction.is_call:
            if instruction.end == site.behind:
                return True
            continue
        ops = operands(instruction)
        if instruction.mnemonic in ("push", "pop") or instruction.is_return:
            continue
        if ops.stores and (instruction.mnemonic != "mov" or ops.read - derived):
            continue  # memory changes; storing the same again does not count
        if ops.written & CALLEE_SAVED and (ops.read & ops.written) - derived:
            continue  # a counter or cursor moves on
        derived |= ops.written
        target = instruction.target
        if instruction.is_jump and target is not None:
            work.append((target, derived))
        if not instruction.is_stop:
            work.append((instruction.end, derived))
    return False
