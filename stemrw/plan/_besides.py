"""What callers read besides the result: errno, and variables of theirs whose address they have passed.

A rescue that leaves them as they were would be no error return: errno would tell of an older failure, and a variable
that the function was to fill would hold whatever lay on the stack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from stemrw.documents.rules import AnyRule, SetOut, Size
from stemrw.errors import LocalizationError
from stemrw.image import Function, Instruction
from stemrw.plan._calls import Site
from stemrw.plan._consequence import Ending, consequences
from stemrw.plan._errno import ERRNO
from stemrw.plan._errno_place import ASKS
from stemrw.plan._operands import ARGUMENTS, REGISTERS, number, operands
from stemrw.plan._outputs import errno_rule
from stemrw.plan._reading import Reading

_INVALID = ERRNO["EINVAL"]
"""What errno says where the function itself sets none: the input was refused."""
_BEFORE_CALL = 25
"""Instructions before a call among which its arguments are set up."""
_SIZES: dict[int, Size] = {1: 1, 2: 2, 4: 4, 8: 8}


def besides(
    reading: Reading,
    function: Function,
    site: Site | None,
    value: int,
    *,
    far: Sequence[Ending] = (),
    returned: bool = False,
) -> tuple[AnyRule, ...]:
    """The rules for what the active caller reads besides the result when that is `value`.

    `far` says what comes of the value in callers that it is handed on to: they may read errno as well. `returned`: the
    function itself returns this value on its early exits.
    """
    if site is None:
        return tuple(_errno(reading, function, None, returned=returned))
    passed = _passed(reading, site)
    endings = consequences(reading, site.caller, site.behind, value, frozenset(passed))
    reader = next((e.errno for e in (*endings, *far) if e.errno is not None), None)
    found: list[AnyRule] = list(_errno(reading, function, reader, returned=returned))
    reads = Counter(read for ending in endings for read in ending.reads)
    for (slot, size), _ in sorted(reads.items(), key=lambda read: (-read[1], passed[read[0][0]], read[0])):
        if size in _SIZES and not any(isinstance(r, SetOut) and r.argument == passed[slot] for r in found):
            said = f"the caller reads {slot}, which it has not set, although the call failed: 0 is neutral"
            found.append(SetOut(argument=passed[slot], size=_SIZES[size], value=0, why=said))
    return tuple(found)


def _errno(reading: Reading, function: Function, reader: Instruction | None, *, returned: bool) -> Iterator[AnyRule]:
    """errno where a caller reads it, or where the function itself tells of errors in this way."""
    own = Counter(_errno_set(reading, function))
    if reader is None and not (own and returned):
        return
    value = own.most_common(1)[0][0] if own else _INVALID
    said = "as the function itself sets it" if own else "EINVAL, because the function itself sets none"
    where = f"a caller reads errno ({reader.address:#x}: {reader}): " if reader is not None else ""
    try:
        yield errno_rule(value, reading.image, f"{where}{said}{'' if where else ' when it returns this value'}")
    except LocalizationError:
        return  # a stripped static program: errno cannot be found, and stays as it is


def _errno_set(reading: Reading, function: Function) -> Iterator[int]:
    """Constants that a function puts into errno."""
    for call in reading.image.whole_body(function):
        if not call.is_call or reading.image.called_name(call) != ASKS:
            continue
        for instruction in reading.image.successors(call.end, 3):
            destination, _, source = instruction.operands.partition(", ")
            constant = number(source, 4)
            if instruction.mnemonic == "mov" and destination == "dword ptr [rax]" and constant is not None:
                if constant > 0:
                    yield constant
                break


def _passed(reading: Reading, site: Site) -> dict[str, int]:
    """Slots of the caller's frame whose address is an argument of the call, and that are set nowhere before it."""
    body = reading.image.body(site.caller)
    position = next((i for i, instruction in enumerate(body) if instruction.end == site.behind), None)
    if position is None:
        return {}
    found: dict[str, int] = {}
    leading = {register: number for number, register in enumerate(ARGUMENTS)}  # to an argument, from here on
    for instruction in reversed(body[max(0, position - _BEFORE_CALL) : position]):
        if instruction.is_call or instruction.is_stop or instruction.mnemonic in ("push", "pop"):
            break
        ops = operands(instruction)
        argument = leading.get(ops.parts[0]) if len(ops.parts) == 2 else None
        leading = {register: number for register, number in leading.items() if register not in ops.written}
        if argument is None:
            continue
        if instruction.mnemonic == "lea" and ops.parts[1].startswith(("[rsp", "[rbp")) and "*" not in ops.parts[1]:
            found[ops.parts[1]] = argument
        elif instruction.mnemonic == "mov" and REGISTERS.get(ops.parts[1], ("", 0))[1] == 8:
            leading.setdefault(ops.parts[1], argument)
    for instruction in body[:position]:
        destination = operands(instruction).parts[:1]
        if destination and instruction.mnemonic != "lea":
            found.pop(destination[0].partition(" ptr ")[2], None)
    return found
