"""Slices: a piece of a function that is skipped when it faults. Whether that can be, and what has to be known for it.

The function goes on with the registers that it had where the slice begins. That is right for what the slice reads and
adds to, and wrong for what it would have produced: a register that holds no value of use where the slice begins, but is
written in it and read behind it, must be given a value by the user.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from iced_x86 import (
    Decoder,
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    Mnemonic,
    OpAccess,
    OpKind,
    Register,
    RegisterExt,
)

from stemrw.documents.rules import GENERAL_REGISTERS, AnyRule, Slice, SliceExit, SliceSet
from stemrw.errors import LocalizationError, UsageError
from stemrw.image import Function, Image
from stemrw.localize import place

_FLAGS = "flags"
_KEPT = frozenset(("rbx", "rbp", "rsp", "r12", "r13", "r14", "r15"))
_VECTORS = frozenset(f"zmm{i}" for i in range(32))
_RESULTS = frozenset(("rax", "rdx", "zmm0", "zmm1"))
_ARGUMENTS = frozenset(("rdi", "rsi", "rdx", "rcx", "r8", "r9", "zmm0"))
_ALL = frozenset(GENERAL_REGISTERS) | _VECTORS | {_FLAGS}
_CLOBBERED = _ALL - _KEPT
_READS = (OpAccess.READ, OpAccess.COND_READ, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE)
_WRITES = (OpAccess.WRITE, OpAccess.READ_WRITE, OpAccess.COND_WRITE, OpAccess.READ_COND_WRITE)
_NAMES = {value: name.lower() for name, value in vars(Register).items() if isinstance(value, int)}


@dataclass(frozen=True, slots=True)
class _Step:
    """One instruction: what it reads, may write and surely writes, where it leads (`ways`: None for who knows)."""

    address: int
    end: int
    reads: frozenset[str]
    writes: frozenset[str]
    kills: frozenset[str]
    ways: tuple[int, ...] | None
    is_call: bool = False
    leaves: bool = False
    stores: bool = False
    depth: int | None = 0
    """Bytes that it adds to the stack; None: unknown."""


def slice_rules(
    text: str, image: Image, *, resume: str | None = None, sets: Sequence[str] = ()
) -> tuple[int, tuple[AnyRule, ...]]:
    """The function that a slice `A..B` lies in, and its rules; `resume` is B unless said, `sets` are like `rax=-1`.

    Raises UsageError (not of that form) and LocalizationError: not instructions of one function, more than one way in,
    another stack depth behind it, a value that only the slice could produce.
    """
    start, end = (place(part, image) for part in text.split("..", 1))
    target = place(resume, image) if resume is not None else end
    owner = image.owner(start)
    if owner is None or end not in _reach(owner.function) or not owner.function.entry < start < end:
        hint = "`stemrw inspect --functions` lists functions; A lies behind the entry, B behind A"
        raise LocalizationError(f"--region {text}: A and B are not in one function", file=image.path, hint=hint)
    values = dict(_set(text) for text in sets)
    if len(values) < len(sets):
        raise UsageError("--set is given twice for one register", hint="give one of them")
    piece = _Piece(start, end, target, owner.function.entry, _steps(owner.function, image), image)
    piece.check(frozenset(values))
    why = f"--region {text}: skipped when it faults, the function goes on at {target:#x}"
    return owner.function.entry, _rules(piece, values, why)


def call_rules(start: int, end: int, function: Function, image: Image, value: int, why: str) -> tuple[AnyRule, ...]:
    """A call of another file's function as a slice: when it faults it is as if it had returned `value`.

    Raises LocalizationError: what is behind it takes more from it than rax, or nothing there moves on.
    """
    piece = _Piece(start, end, end, function.entry, _steps(function, image), image, is_call=True)
    piece.check(frozenset(("rax",)))
    return _rules(piece, {"rax": value & ((1 << 64) - 1)}, why)


def _rules(piece: _Piece, values: dict[str, int], why: str) -> tuple[AnyRule, ...]:
    start = piece.start
    rules: list[AnyRule] = [Slice(address=start, end=piece.end, resume=piece.resume, why=why)]
    rules += [SliceExit(address=address, slice=start) for address in sorted(piece.exits())]
    rules += [SliceSet(address=start, register_name=name, value=value) for name, value in sorted(values.items())]
    return tuple(rules)


def _set(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    try:
        number = int(value, 0)
    except ValueError:
        raise UsageError(f"--set {text!r} is no REGISTER=NUMBER", hint="such as rax=-1") from None
    if name not in GENERAL_REGISTERS or name == "rsp" or not -(1 << 63) <= number < 1 << 64:
        raise UsageError(f"--set {text!r}: no 64-bit register, or it does not fit in one", hint="such as rax=-1")
    return name, number & ((1 << 64) - 1)


def _reach(function: Function) -> range:
    return range(function.entry, function.end)


@dataclass(frozen=True)
class _Piece:
    start: int
    end: int
    resume: int
    entry: int
    """Of the function; parts that were split off it may lie lower."""
    code: dict[int, _Step]
    image: Image
    is_call: bool = False
    """It is one call: nothing leads into it, and it leaves the stack as it was, and nothing behind it but a result."""

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end

    def exits(self) -> set[int]:
        """Where control gets to out of it, within the function."""
        found = {self.end, self.resume}
        for step in self.code.values():
            if step.address in self and step.ways is not None:
                found |= {way for way in step.ways if way not in self and way in self.code}
        return found

    def check(self, given: frozenset[str]) -> None:
        for address in (self.start, self.end, self.resume):
            if address not in self.code:
                self._refuse("no instruction of the function begins there", address)
        if self.resume in self:
            self._refuse("the function cannot go on inside the slice", self.resume)
        if not self.is_call:
            self._check_ways_in()
            self._check_stack()
        self._check_values(given)
        self._check_progress()

    def _refuse(self, text: str, address: int, hint: str = "choose A and B otherwise") -> None:
        raise LocalizationError(f"--region A..B: {text}", file=self.image.path, address=address, hint=hint)

    def _check_ways_in(self) -> None:
        for step in self.code.values():
            if step.address in self:
                continue
            if step.ways is None:
                self._refuse("an indirect jump may lead into the slice", step.address)
            for way in step.ways or ():
                if way in self and way != self.start:
                    self._refuse(f"this branch leads into the slice, to {way:#x}", step.address)

    def _check_stack(self) -> None:
        depths: dict[int, int | None] = {}
        work = deque([(self.entry, 0)])
        while work:
            address, depth = work.popleft()
            step = self.code.get(address)
            if step is None or address in depths:
                continue
            depths[address] = depth
            if step.depth is not None:
                work.extend((way, depth + step.depth) for way in step.ways or ())
        if depths.get(self.start) is None or depths.get(self.start) != depths.get(self.resume):
            self._refuse(
                "the stack is not as deep there as where the slice begins, or that cannot be seen", self.resume
            )

    def _check_progress(self) -> None:
        """What is behind it, and leads back to it, must change something that it begins with."""
        before: dict[int, list[int]] = {}
        for step in self.code.values():
            for way in step.ways or ():
                before.setdefault(way, []).append(step.address)
        leading = self._outside(self.start, lambda address: before.get(address, ()))
        behind = self._outside(self.resume, lambda address: self.code[address].ways or ())
        if self.start not in behind:
            return
        needed = _live(self.code, unknown=_ALL, calls=_ARGUMENTS)[self.start]
        between = [self.code[address] for address in behind & leading - {self.start}]
        if not any(step.is_call or step.stores or step.writes & needed for step in between):
            hint = "let it end before the loop's counter moves on"
            self._refuse("the loop goes on as before: the same fault would come again and again", self.resume, hint)

    def _outside(self, first: int, ways: Callable[[int], Iterable[int]]) -> set[int]:
        """The instructions to which such ways lead without passing the slice; its beginning may be the last."""
        found, work = {first}, [first]
        while work:
            for way in ways(work.pop()):
                if way in self.code and way not in found and (way not in self or way == self.start):
                    found.add(way)
                    work += [way] if way not in self else []
        return found

    def _check_values(self, given: frozenset[str]) -> None:
        """What is read behind it, only it can have produced, and nobody has given a value."""
        promised = _live(self.code, unknown=frozenset(), calls=frozenset())[self.start]
        again = replace(self.code[self.start], reads=promised, kills=_ALL, ways=())  # the next record's turn
        unknown, calls = (frozenset[str](), frozenset[str]()) if self.is_call else (_ALL, _ARGUMENTS)
        wanted = _live(self.code | {self.start: again}, unknown=unknown, calls=calls)[self.resume]
        missing = (wanted & self._produced()) - promised - given
        if not missing:
            return
        first = next(
            (
                s
                for s in sorted(self.code.values(), key=lambda s: s.address)
                if s.address in self and s.writes & missing
            ),
            self.code[self.start],
        )
        names = ", ".join(sorted(missing))
        hint = "let the slice end where its results are used up"
        if missing <= frozenset(GENERAL_REGISTERS):
            hint = f"say what they are then: {' '.join(f'--set {name}=VALUE' for name in sorted(missing))}"
        self._refuse(f"what is behind it needs {names}, which only the slice sets, first here", first.address, hint)

    def _produced(self) -> frozenset[str]:
        """Registers that hold something of the slice's at one of its ends."""
        at: dict[int, frozenset[str]] = {self.start: frozenset()}
        work, found = deque([self.start]), frozenset[str]()
        while work:
            address = work.popleft()
            step = self.code[address]
            after = ((at[address] - _CLOBBERED) | _RESULTS) if step.is_call else at[address] | step.writes
            if step.ways is None:
                return _ALL
            for way in step.ways:
                if way not in self or way == self.start:
                    found |= after
                elif way not in at or not after <= at[way]:
                    at[way] = at.get(way, frozenset()) | after
                    work.append(way)
        return found


def _live(code: dict[int, _Step], *, unknown: frozenset[str], calls: frozenset[str]) -> dict[int, frozenset[str]]:
    """Registers whose value is read from each instruction on, before it is written."""
    live = dict.fromkeys(code, frozenset[str]())
    # A function that never writes a register itself does not return anything in it, but for what it passes on in rax.
    results = _RESULTS & ({"rax"} | frozenset().union(*(step.writes for step in code.values() if not step.is_call)))
    before: dict[int, list[int]] = {}
    for step in code.values():
        for way in step.ways or ():
            before.setdefault(way, []).append(step.address)
    work = deque(sorted(code, reverse=True))
    waiting = set(work)
    while work:
        address = work.popleft()
        waiting.discard(address)
        step = code[address]
        after = unknown if step.ways is None else frozenset[str]()
        for way in step.ways or ():
            after |= live[way] if way in live else calls | _KEPT
        if step.leaves:
            after = (results if unknown else frozenset()) | _KEPT
        now = (after - step.kills) | step.reads | (calls if step.is_call else frozenset())
        if now != live[address]:
            live[address] = now
            fresh = [a for a in before.get(address, ()) if a not in waiting]
            work.extend(fresh)
            waiting.update(fresh)
    return live


def _steps(function: Function, image: Image) -> dict[int, _Step]:
    """The function's instructions, and those of parts that were split off it."""
    parts = {function.entry: function}
    for instruction in image.whole_body(function):
        part = image.function_at(instruction.address)
        if part is not None:
            parts[part.entry] = part
    factory = InstructionInfoFactory()
    found = {}
    for part in parts.values():
        for decoded in Decoder(64, image.elf.read(part.entry, part.size), ip=part.entry):
            found[decoded.ip] = _step(decoded, factory)
    return found


def _names(registers: Iterable[Any]) -> frozenset[str]:
    """In their widest form, which is how they are compared."""
    names = (_NAMES[RegisterExt.full_register(register)] for register in registers)
    return frozenset(name for name in names if name in _ALL)


def _step(instruction: Instruction, factory: InstructionInfoFactory) -> _Step:
    info = factory.info(instruction)
    used = info.used_registers()
    reads = _names(u.register for u in used if u.access in _READS)
    writes = _names(u.register for u in used if u.access in _WRITES)
    sure = _names(u.register for u in used if u.access in (OpAccess.WRITE, OpAccess.READ_WRITE) and _whole(u.register))
    flags = frozenset((_FLAGS,))
    reads |= flags if instruction.rflags_read else frozenset()
    writes |= flags if instruction.rflags_modified else frozenset()
    flow = instruction.flow_control
    call = flow in (FlowControl.CALL, FlowControl.INDIRECT_CALL)
    kills = _CLOBBERED if call else sure | (flags if instruction.rflags_modified else frozenset())
    ways: tuple[int, ...] | None = (instruction.next_ip,)
    if flow == FlowControl.UNCONDITIONAL_BRANCH:
        ways = (instruction.near_branch_target,)
    elif flow == FlowControl.CONDITIONAL_BRANCH:
        ways = (instruction.next_ip, instruction.near_branch_target)
    elif flow == FlowControl.INDIRECT_BRANCH:
        ways = None
    elif flow in (FlowControl.RETURN, FlowControl.EXCEPTION):
        ways = ()
    return _Step(
        address=instruction.ip, end=instruction.next_ip, reads=reads, writes=writes, kills=kills, ways=ways,
        is_call=call, leaves=flow == FlowControl.RETURN, depth=0 if call else _depth(instruction),
        stores=any(memory.access in _WRITES for memory in info.used_memory()),
    )  # fmt: skip


def _whole(register: Any) -> bool:
    """A write to it leaves nothing of what was there."""
    return RegisterExt.size(register) >= 4


def _depth(instruction: Instruction) -> int | None:
    mnemonic = instruction.mnemonic
    if mnemonic in (Mnemonic.LEAVE, Mnemonic.ENTER):
        return None
    if instruction.is_stack_instruction:
        return -instruction.stack_pointer_increment
    if (
        not instruction.op_count
        or instruction.op_kind(0) != OpKind.REGISTER
        or instruction.op0_register != Register.RSP
    ):
        return 0
    if mnemonic in (Mnemonic.CMP, Mnemonic.TEST):
        return 0
    if mnemonic not in (Mnemonic.ADD, Mnemonic.SUB) or instruction.op_kind(1) in (OpKind.REGISTER, OpKind.MEMORY):
        return None
    value = int(instruction.immediate(1))
    value -= value >> 63 << 64
    return value if mnemonic == Mnemonic.SUB else -value
