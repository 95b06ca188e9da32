"""What comes of a value that a call returns: every way from behind the call, walked with the value known.

A test of the value goes the way that the processor would go; any other branch is followed to both sides. A way ends
where the value is used as an address, where the program ends, where the function returns, or after a bounded number of
instructions, when the function simply goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from stemrw.image import Function, Instruction
from stemrw.plan._arithmetic import Flags, Known, Values, compute, read, write
from stemrw.plan._errno_place import ASKS, errno_places
from stemrw.plan._flow import Use, follow
from stemrw.plan._operands import ARGUMENTS, CALLEE_SAVED, REGISTERS, operands
from stemrw.plan._reading import Reading

_INSTRUCTIONS = 500
"""Instructions walked for one value, on all ways together."""
_FAR = 80
"""Instructions after which one way is walked no further: the function goes on."""
_BRANCHES = 5
"""Undecided branches that one way follows to both sides."""
_NO_ADDRESS = 1 << 16
"""Below this, and as far below zero, no address is valid."""

_READS_MEMORY = {
    **dict.fromkeys(
        "strlen strdup strtol strtoul strtod atoi atol atof puts fclose fgetc getc fflush ftell rewind feof ferror "
        "closedir readdir fgetpos fileno pclose strchr strrchr strspn strcspn strpbrk fprintf vfprintf __fprintf_chk "
        "__vfprintf_chk fseek fseeko".split(),
        ("rdi",),
    ),
    **dict.fromkeys(
        "strcmp strcasecmp strcpy strcat strncpy strncat strncmp strncasecmp strchrnul strstr strcoll stpcpy "
        "__strcpy_chk __strcat_chk __strncpy_chk __strncat_chk __stpcpy_chk".split(),
        ("rdi", "rsi"),
    ),
    **dict.fromkeys(("fputs", "fputc", "putc", "ungetc"), ("rsi",)),
    **dict.fromkeys(("fwrite", "fread"), ("rcx",)),
    "fgets": ("rdx",),
}
"""Library functions → the arguments that they use as addresses without a test."""


class End(StrEnum):
    """How one way ends."""

    DEREFERENCED = "the value is used as an address"
    INDEXED = "a negative value is used as an index"
    STOPPED = "the program ends"
    JUMPED = "control leaves to a function further out (longjmp, exception)"
    RETURNED = "the function returns"
    LOOPED = "the loop around the call goes on"
    WENT_ON = "the function goes on"


@dataclass(frozen=True, slots=True)
class Ending:
    """One way and how it ends.

    `value` is what the function returns, where that is known, and `own` whether it is the value of the call itself.
    `test` is the first instruction that the value decided; `reports` says how an error is reported on the way.
    """

    end: End
    at: Instruction | None = None
    value: int | None = None
    own: bool = False
    test: Instruction | None = None
    reports: str | None = None
    short: bool = False
    """No call but reports and releases lies on the way."""
    frees: bool = False
    errno: Instruction | None = None
    """What reads errno, before another call of the way can have set it."""
    stale: bool = False
    """A call on the way may have set errno."""
    reads: frozenset[tuple[str, int]] = frozenset()
    """Slots of the caller's frame that are read before they are written: operand text and size in bytes."""


@dataclass(frozen=True, slots=True)
class _Way:
    address: int
    values: Values
    flags: Flags | None = None
    streams: frozenset[str] = frozenset()
    message: str | None = None
    length: int = 0
    branches: int = _BRANCHES
    calls: int = 0
    slots: frozenset[str] = frozenset()
    notes: Ending = field(default_factory=lambda: Ending(End.WENT_ON))


_CHECKS = frozenset("__stack_chk_fail __stack_chk_fail_local __chk_fail __fortify_fail".split())
"""What compilers call where a check of their own fails: no value that is returned leads there."""
_READS_ERRNO = frozenset("perror err warn verr vwarn".split())
_ERRNO = Known(0x6F6E_7272_6500_0000)
"""Stands for errno's address, which nobody knows before the program runs: no valid address, and no likely number."""
_RELEASES = frozenset("free fclose close g_free closedir pclose _ZdlPv _ZdlPvm _ZdaPv munmap".split())


def consequences(
    reading: Reading, caller: Function, behind: int, value: int, slots: frozenset[str] = frozenset()
) -> list[Ending]:
    """How every way ends that begins behind a call which returned `value` in rax; `slots` are watched for reads."""
    values = dict.fromkeys(errno_places(reading, caller, behind), _ERRNO)
    values["rax"] = Known(value & (1 << 64) - 1, own=True)
    return list(_walk(reading, caller, _Way(behind, values, slots=slots)))


def onwards(reading: Reading, function: Function, start: int) -> list[Ending]:
    """How every way ends that begins at an address of a function, with nothing known."""
    return list(_walk(reading, function, _Way(start, {})))


def _walk(reading: Reading, caller: Function, start: _Way) -> Iterator[Ending]:
    code, budget = reading.code(caller), _INSTRUCTIONS
    behind = start.address
    back = reading.leads_back(caller, behind)
    work = deque((start,))
    seen: set[tuple[int, frozenset[tuple[str, Known]]]] = set()
    while work:
        way = work.popleft()
        state = way.address, frozenset(way.values.items())
        if state in seen:
            continue
        seen.add(state)
        instruction = code(way.address)
        if instruction is not None and instruction.is_call and instruction.end == behind:
            yield _ended(way, End.LOOPED, instruction)
            continue
        if instruction is None or budget == 0 or way.length >= _FAR:
            yield _ended(way, End.LOOPED if way.address in back else End.WENT_ON, instruction)
            continue
        if instruction.is_call and reading.image.called_name(instruction) in _CHECKS:
            continue
        budget -= 1
        ended, ways = _step(reading, instruction, replace(way, values=dict(way.values), length=way.length + 1))
        if ended is not None:
            yield ended
        elif not ways:
            yield _ended(way, End.LOOPED if way.address in back else End.WENT_ON, instruction)
        work.extend(ways)


def _ended(way: _Way, end: End, at: Instruction | None, *, value: int | None = None, own: bool = False) -> Ending:
    return replace(way.notes, end=end, at=at, value=value, own=own, short=way.calls == 0)


def _step(reading: Reading, instruction: Instruction, way: _Way) -> tuple[Ending | None, Sequence[_Way]]:
    """One instruction: the end of this way, or how it goes on."""
    if instruction.is_return:
        known = way.values.get("rax")
        value, own = (known.value, known.own) if known is not None else (None, False)
        return _ended(way, End.RETURNED, instruction, value=value, own=own), ()
    ops = operands(instruction)
    bad = _bad_address(ops.parts, instruction, way.values)
    if bad is not None:
        return _ended(way, bad, instruction), ()
    way = _noted_errno(instruction, ops.parts, _watched(instruction, ops.parts, way))
    if instruction.is_call:
        return _call(reading, instruction, way)
    if instruction.is_jump:
        return _jump(reading, instruction, way)
    if instruction.is_stop:
        return _ended(way, End.STOPPED, instruction), ()
    way = _noted_message(reading, instruction, ops.parts, way)
    mnemonic = instruction.mnemonic.rpartition(" ")[2]
    if mnemonic.startswith(("set", "cmov")):
        way = _conditional(mnemonic, ops.parts, way)
    else:
        flags = compute(instruction, ops.parts, way.values)
        if mnemonic in _SETS_FLAGS:
            way = replace(way, flags=flags)
        if mnemonic not in _COMPUTED:
            for register in ops.written:
                way.values.pop(register, None)
        if "rsp" in ops.written or mnemonic in ("push", "pop"):
            for slot in [w for w in way.values if w.startswith("[rsp")]:
                del way.values[slot]
    return None, (replace(way, address=instruction.end),)


_COMPUTED = frozenset(
    "mov movabs movzx movsx movsxd cdqe cwde cmp test add sub and or xor inc dec neg not push nop endbr64".split()
)
_SETS_FLAGS = frozenset(
    "cmp test add sub and or xor inc dec neg adc sbb shl shr sar sal rol ror rcl rcr shld shrd imul mul div idiv bt "
    "bts btr btc bsf bsr tzcnt lzcnt popcnt andn ucomisd comisd ucomiss comiss vucomisd vcomisd vucomiss vcomiss ptest "
    "cmpsb cmpsw cmpsd cmpsq scasb scasw scasd scasq cmpxchg xadd popfq sahf".split()
)


def _bad_address(parts: tuple[str, ...], instruction: Instruction, values: Values) -> End | None:
    """Whether the value is part of an address that cannot be valid."""
    if instruction.mnemonic in ("lea", "nop"):
        return None
    if instruction.is_call and parts and parts[0] in REGISTERS:
        known = values.get(REGISTERS[parts[0]][0])
        return End.DEREFERENCED if known is not None and known.own else None
    for part in parts:
        if "[" not in part:
            continue
        base, _, rest = part[part.index("[") + 1 : -1].partition(" ")
        known = values.get(base) if base in REGISTERS else None
        if known is not None and known.own and (known.value + _NO_ADDRESS) % (1 << 64) < 2 * _NO_ADDRESS:
            return End.DEREFERENCED
        index = rest.removeprefix("+ ").partition("*")[0]
        known = values.get(index) if index in REGISTERS else None
        if known is not None and known.own and known.value >> 63:
            return End.INDEXED
    return None


def _watched(instruction: Instruction, parts: tuple[str, ...], way: _Way) -> _Way:
    """Reads of the slots that are watched, until they are written or their address is taken again."""
    for i, part in enumerate(parts):
        size, _, memory = part.partition(" ptr ")
        if memory not in way.slots:
            continue
        stores = i == 0 and instruction.mnemonic.startswith("mov")
        if not stores and instruction.mnemonic != "lea":
            bytes_read = {"byte": 1, "word": 2, "dword": 4, "qword": 8}.get(size, 0)
            way = replace(way, notes=replace(way.notes, reads=way.notes.reads | {(memory, bytes_read)}))
        way = replace(way, slots=way.slots - {memory})
    if instruction.mnemonic == "lea" and len(parts) == 2:
        way = replace(way, slots=way.slots - {parts[1]})
    return way


def _noted_errno(instruction: Instruction, parts: tuple[str, ...], way: _Way) -> _Way:
    """A load of errno, unless a call before it can have set errno."""
    if way.notes.stale or way.notes.errno is not None or instruction.mnemonic == "lea":
        return way
    for i, part in enumerate(parts):
        base = part.partition("[")[2].removesuffix("]")
        if way.values.get(base) == _ERRNO and (i or not instruction.mnemonic.startswith("mov")):
            return replace(way, notes=replace(way.notes, errno=instruction))
    return way


def _noted_message(reading: Reading, instruction: Instruction, parts: tuple[str, ...], way: _Way) -> _Way:
    """Messages and the error stream, where they are put into registers."""
    text = reading.complaint(instruction)
    if text is not None:
        way = replace(way, message=text)
    destination = REGISTERS.get(parts[0], ("",))[0] if parts else ""
    if reading.stream(instruction):
        return replace(way, streams=way.streams | {destination})
    if instruction.mnemonic == "mov" and len(parts) == 2 and parts[1] in REGISTERS:
        source = REGISTERS[parts[1]][0]
        loaded = source in way.streams
    else:
        loaded = bool(way.streams) and instruction.operands.endswith(tuple(f"[{s}]" for s in way.streams))
    if loaded:
        return replace(way, streams=way.streams | {destination})
    return replace(way, streams=way.streams - {destination}) if destination in way.streams else way


def _conditional(mnemonic: str, parts: tuple[str, ...], way: _Way) -> _Way:
    """`setCC` and `cmovCC`."""
    taken = way.flags.holds(mnemonic.removeprefix("set").removeprefix("cmov")) if way.flags is not None else None
    if way.flags is None or taken is None:
        write(way.values, parts[0], None)
        return way
    if mnemonic.startswith("set"):
        write(way.values, parts[0], Known(int(taken), own=way.flags.own))
    elif taken:
        write(way.values, parts[0], read(way.values, parts[1]))
    return _decided(way, way.flags)


def _decided(way: _Way, flags: Flags) -> _Way:
    if not flags.own or way.notes.test is not None:
        return way
    return replace(way, notes=replace(way.notes, test=flags.by))


def _jump(reading: Reading, jump: Instruction, way: _Way) -> tuple[Ending | None, Sequence[_Way]]:
    if jump.is_unconditional:
        if jump.target is None or reading.image.called_name(jump) is not None:
            if reading.image.called_name(jump) is None:
                return None, ()  # a jump table, or an indirect tail call
            return _call(reading, jump, way)
        return None, (replace(way, address=jump.target),)
    taken = way.flags.holds(jump.mnemonic.rpartition(" ")[2].removeprefix("j")) if way.flags is not None else None
    ahead = [jump.target] if jump.target is not None else []
    if taken is None or way.flags is None:
        if way.branches == 0:
            return None, ()
        return None, [replace(way, address=a, branches=way.branches - 1) for a in (jump.end, *ahead)]
    way = _decided(way, way.flags)
    return None, [replace(way, address=a) for a in (ahead if taken else [jump.end])]


def _call(reading: Reading, call: Instruction, way: _Way) -> tuple[Ending | None, Sequence[_Way]]:
    """A call or a tail call on the way."""
    passed = [a for a in ARGUMENTS if (k := way.values.get(a)) is not None and k.own]
    name = reading.image.called_name(call)
    if any(_dereferences(reading, call, name, argument, way.values[argument]) for argument in passed):
        return _ended(way, End.DEREFERENCED, call), ()
    if not way.notes.stale and way.notes.errno is None and name in _READS_ERRNO:
        way = replace(way, notes=replace(way.notes, errno=call))
    if name == ASKS:
        way = _behind_call(call, way)
        way.values["rax"] = _ERRNO
        return None, (way,)
    how = reading.reporter(call, way.streams)
    if how is None and way.message is not None and name not in _RELEASES:
        how = f"passes on the message {way.message.strip()!r}"
    if how is not None and way.notes.reports is None:
        way = replace(way, notes=replace(way.notes, reports=how))
    elif name in _RELEASES:
        way = replace(way, notes=replace(way.notes, frees=True))
    elif how is None:
        stale = way.notes.stale or not reading.calls_nothing(call)
        way = replace(way, calls=way.calls + 1, notes=replace(way.notes, stale=stale))
    leaving = reading.leaving(call)
    if leaving is not None:
        return _ended(way, End.STOPPED if leaving == "ends" else End.JUMPED, call), ()
    if not call.is_call:
        return _ended(way, End.RETURNED, call), ()  # a tail call: what it returns is not known
    return None, (_behind_call(call, way),)


def _behind_call(call: Instruction, way: _Way) -> _Way:
    """What is left of what was known, when a call has come back."""
    kept = {w: k for w, k in way.values.items() if w in CALLEE_SAVED or w.startswith("[")}
    return replace(way, address=call.end, values=kept, flags=None, streams=way.streams & CALLEE_SAVED, message=None)


def _dereferences(reading: Reading, call: Instruction, name: str | None, argument: str, known: Known) -> bool:
    """Whether a called function uses an argument as an address without a test, and it is none."""
    if (known.value + _NO_ADDRESS) % (1 << 64) >= 2 * _NO_ADDRESS:
        return False
    if name in _READS_MEMORY:
        return argument in _READS_MEMORY[name]
    callee = reading.callee(call)
    if callee is None:
        return False
    inner = follow(reading.code(callee), callee.entry, argument, budget=60, branches=2)
    return any(s.use is Use.DEREFERENCED for s in inner) and not any(s.use is Use.TESTED for s in inner)
