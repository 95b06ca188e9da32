"""What a function should return when it is rescued, by evidence.

In order of trust: the declared type (DWARF); what the caller that was active does with the result right after the call;
what other callers do; which constants the function itself returns on its early exits; a documented default (0).
Rules and their reasons: docs/plan.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from stemrw.documents.plan import ReturnKind
from stemrw.image import Function, Image, Instruction, ResultType
from stemrw.plan._flow import CALLEE_SAVED, Sighting, Use, constant_set, follow, operands

_SIGN_CONDITIONS = ("js", "jns", "sets", "setns", "jl", "jge", "setl", "setge", "cmovs", "cmovns")
_ZERO_CONDITIONS = ("je", "jne", "sete", "setne", "cmove", "cmovne")
_MAXIMUM_CALLERS = 8
_MAXIMUM_CONSTANT_SITES = 400


@dataclass(frozen=True, slots=True)
class Site:
    """A call: the address behind it, and the function that it stands in."""

    behind: int
    caller: Function


@dataclass(frozen=True, slots=True)
class Result:
    """What to return, why, and how sure that is.

    `hazard` says why the caller cannot live with this result (None: nothing speaks against it); `handled` is True where
    the caller looks at the result before it relies on it, so an error value leads to its own error handling.
    """

    kind: ReturnKind
    value: int
    evidence: tuple[str, ...]
    handled: bool = False
    hazard: str | None = None


def decide(image: Image, function: Function, sites: Sequence[Site]) -> Result:
    """The result of `function`; `sites` are the active call and the calls around it, innermost first (may be empty)."""
    seen = _uses(image, sites)
    handled = bool(seen) and all(s.use in (Use.TESTED, Use.DROPPED) for s in seen)
    main = image.main
    if main is not None and main.entry == function.entry:
        return Result("integer", 1, ("main: the exit status that says failure",), handled=True)
    declared = image.result_type(function)
    if declared is not None:
        result = replace(_by_type(declared), handled=handled)
    else:
        result = _by_code(image, function, sites, seen)
    return replace(result, hazard=_hazard(image, sites, seen, result))


def _by_type(declared: ResultType) -> Result:
    where = f"DWARF: returns {declared.name or declared.kind}"
    match declared.kind:
        case "void":
            return Result("void", 0, (f"{where}: nothing to return",))
        case "bool":
            return Result("integer", 0, (f"{where}: false",))
        case "pointer":
            return Result("integer", 0, (f"{where}: NULL",))
        case "signed":
            return Result("integer", -1, (f"{where} (signed): -1",))
        case "unsigned":
            return Result("integer", 0, (f"{where} (unsigned): 0",))
        case "double" | "float":
            return Result("double", 0, (f"{where}: 0.0",))
        case "aggregate" | "other":
            return Result("integer", 0, (f"{where}: zero in the result registers",))


def _by_code(image: Image, function: Function, sites: Sequence[Site], seen: list[Sighting]) -> Result:
    if sites and _takes_double(image, sites[0].behind, sites[0].caller):
        return Result(
            "double", 0, (f"the caller takes a floating-point result at {sites[0].behind:#x}: 0.0",), handled=True
        )
    how = "the caller" if sites else "a caller"
    if not any(s.use is not Use.LOST for s in seen):
        seen = _other_uses(image, function)
        how = "a caller"
    constants = returned_constants(image, function)
    for sighting in seen:
        result = _by_test(sighting, how, constants)
        if result is not None:
            return result
    if seen and all(s.use is Use.DROPPED for s in seen):
        return Result("void", 0, (f"{how} does not look at the result",), handled=True)
    if any(s.use is Use.DEREFERENCED for s in seen):
        return Result("integer", 0, (f"{how} uses the result as an address: NULL",))
    return _by_constants(constants)


def _by_test(sighting: Sighting, how: str, constants: dict[int, int]) -> Result | None:
    if sighting.use is not Use.TESTED or sighting.instruction is None:
        return None
    text = f"{how} tests it ({sighting.instruction.address:#x}: {sighting.instruction}"
    text += f"; {sighting.condition})" if sighting.condition else ")"
    if sighting.constant == -1:
        return Result("integer", -1, (f"{text}: -1 is special",), handled=True)
    if sighting.constant == 0 and sighting.condition in _SIGN_CONDITIONS:
        return Result("integer", -1, (f"{text}: negative is special",), handled=True)
    if sighting.constant == 0 and sighting.condition in _ZERO_CONDITIONS:
        if sighting.size == 8:
            return Result("integer", 0, (f"{text}: a pointer or size, NULL",), handled=True)
        if sighting.size == 4 and constants.get(-1, 0) and not constants.get(1, 0):
            return Result("integer", -1, (f"{text}, and the function itself returns -1",), handled=True)
        return Result("integer", 0, (f"{text}: zero is special",), handled=True)
    return Result("integer", 0, (f"{text}: 0",), handled=True)


def _by_constants(constants: dict[int, int]) -> Result:
    if constants:
        said = ", ".join(f"{value} ({count} times)" for value, count in sorted(constants.items())[:6])
        if set(constants) <= {0, -1} and -1 in constants:
            return Result("integer", -1, (f"early exits of the function return {said}: -1",))
        return Result("integer", 0, (f"early exits of the function return {said}: 0",))
    return Result("integer", 0, ("no evidence about the result: 0 is the default",))


# What callers do


def _reader(image: Image, function: Function) -> Callable[[int], Instruction | None]:
    """Instructions of a function and of the parts split off it, by address."""
    code = {i.address: i for i in image.whole_body(function)}
    return code.get


def _uses(image: Image, sites: Sequence[Site], depth: int = 3) -> list[Sighting]:
    """What the active caller does with the result; where it hands the result on, what the next one does, and so on."""
    if not sites:
        return []
    found: list[Sighting] = []
    for sighting in follow(_reader(image, sites[0].caller), sites[0].behind, "rax"):
        if sighting.use is Use.RETURNED and depth and len(sites) > 1:
            found += _uses(image, sites[1:], depth - 1)
        elif sighting.use is Use.PASSED:
            found.append(_inside_callee(image, sighting))
        else:
            found.append(sighting)
    return found


def _inside_callee(image: Image, sighting: Sighting) -> Sighting:
    """A result that is passed on counts as dereferenced if the function that gets it uses it as an address untested."""
    call = sighting.instruction
    callee = image.function_at(call.target) if call is not None and call.target is not None else None
    if callee is None or call is None or callee.entry != call.target:
        return sighting
    inner = follow(_reader(image, callee), callee.entry, sighting.argument, budget=60, branches=2)
    used = [s for s in inner if s.use is Use.DEREFERENCED]
    if used and not any(s.use is Use.TESTED for s in inner):
        return Sighting(Use.DEREFERENCED, used[0].instruction)
    return sighting


def _other_uses(image: Image, function: Function) -> list[Sighting]:
    found: list[Sighting] = []
    for call, caller in islice(image.callers(function), _MAXIMUM_CALLERS):
        if call.is_call:
            found += follow(_reader(image, caller), call.end, "rax")
    known = [s for s in found if s.use is not Use.LOST]
    return sorted(known, key=lambda s: s.use is not Use.TESTED)


_XMM_SOURCE = re.compile(r"\bxmm0\b")


def _takes_double(image: Image, address: int, caller: Function) -> bool:
    """Whether xmm0 is read after the call before it is written, and rax is not."""
    read = _reader(image, caller)
    for _ in range(10):
        instruction = read(address)
        if instruction is None or instruction.is_call or instruction.is_stop or instruction.is_jump:
            return False
        destination, _, source = instruction.operands.partition(",")
        if _XMM_SOURCE.search(instruction.operands):
            if instruction.mnemonic.startswith(("pxor", "xorp", "vpxor", "vxorp")):
                return False
            moved = instruction.mnemonic.startswith(("mov", "cvt", "sqrt", "vmov"))
            return bool(_XMM_SOURCE.search(source)) or not (moved and destination.strip() == "xmm0")
        if "rax" in operands(instruction).read | operands(instruction).address:
            return False
        address = instruction.end
    return False


# What the function itself returns


def returned_constants(image: Image, function: Function) -> dict[int, int]:
    """Constants that reach a return in the result register, with how many places put them there."""
    read = _reader(image, function)
    found: dict[int, int] = {}
    sites = [(i, c) for i in image.whole_body(function) if (c := constant_set(i)) is not None]
    for instruction, (register, value, _) in sites[:_MAXIMUM_CONSTANT_SITES]:
        uses = follow(read, instruction.end, register, budget=20, branches=1)
        if any(u.use is Use.RETURNED for u in uses) and all(u.use in (Use.RETURNED, Use.LOST) for u in uses):
            found[value] = found.get(value, 0) + 1
    return found


# What speaks against a result


def _hazard(image: Image, sites: Sequence[Site], seen: Iterable[Sighting], result: Result) -> str | None:
    if not sites or result.kind == "double":
        return None
    used = [s for s in seen if s.use is Use.DEREFERENCED and s.instruction is not None]
    if used and used[0].instruction is not None:
        at = used[0].instruction
        return f"the result is used as an address without a test ({at.address:#x}: {at})"
    if _calls_again_at_once(image, sites[0]):
        return f"the caller would call again at once, all unchanged, and so for ever (behind {sites[0].behind:#x})"
    return None


def _calls_again_at_once(image: Image, site: Site) -> bool:
    """Whether a way leads from behind the call back to it on which nothing changes that lasts.

    After a rescue all memory is as it was before the call. If the way back to the call holds no other call, no store
    and no write to a register that outlives it, the next call is the same call, and fails in the same way.
    """
    read = _reader(image, site.caller)
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
