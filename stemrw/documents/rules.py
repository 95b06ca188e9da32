"""Rules: what a plan asks of the runtime beyond checkpoint, undo and error value.

Each model is one kind of rule in runtime/include/rules.h; `values` are the words that the runtime reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from stemrw.documents.base import Address, Document, Word
from stemrw.documents.predicate import parse

STRATEGIES = ("return", "die", "oblivious", "retry", "end-thread", "end-child", "slice")
"""What can be done about a fault, in the order of `enum strategy` in runtime/include/rules.h (docs/strategies.md)."""

GENERAL_REGISTERS = tuple("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split())
"""In the order in which instructions encode them."""

Size = Literal[1, 2, 4, 8]
_WORD = (1 << 64) - 1


class Rule(Document):
    """What all rules have: the code they are about (link-time, where there is any), and why they are there."""

    of_file: ClassVar[bool] = False
    """It is about the whole file, not about one region."""

    address: Word | None = None
    end: Word | None = None
    why: str = ""

    @model_validator(mode="after")
    def _is_range(self) -> Self:
        if self.end is not None and (self.address is None or self.end <= self.address):
            raise ValueError("`end` does not lie behind `address`")
        return self

    def values(self) -> tuple[int, ...]:
        """At most five 64-bit words, as rules.h says for this kind."""
        return ()

    def subject(self) -> tuple[object, ...]:
        """What only one rule of a region can say anything about; by default, all that the rule says."""
        return tuple(self.model_dump(exclude={"why"}).values())


class Budget(Rule):
    """How much one entry of the region may use before that is a fault (`hang`, `memory-exhaustion`); 0: any amount."""

    kind: Literal["budget"] = "budget"
    ticks: int = Field(default=0, ge=0, lt=1 << 64)
    """Loops closed and functions called, roughly: the runtime looks every 65,536."""
    cpu_milliseconds: int = Field(default=0, ge=0, lt=1 << 40)
    memory_bytes: int = Field(default=0, ge=0, lt=1 << 64)
    """Allocated, mapped or added to the heap, and not given back."""
    after_rescue: bool = False
    """All of it counts from the first rescue inside the entry on, and nothing as long as there was none."""

    def values(self) -> tuple[int, ...]:
        return self.ticks, self.cpu_milliseconds, self.memory_bytes, int(self.after_rescue)

    def subject(self) -> tuple[object, ...]:
        return (self.kind,)


class Stack(Rule):
    """Returns and indirect branches of emulated code go where the program has sent them, or are faults
    (`return-address`, `stack-smash`, `control-flow`). It is about the whole file, for all regions share their code."""

    of_file: ClassVar[bool] = True

    kind: Literal["stack"] = "stack"


class GuardSite(Rule):
    """Calls of the allocator that return into `address` … `end` are given guarded heap blocks."""

    of_file: ClassVar[bool] = True

    kind: Literal["guard-site"] = "guard-site"
    address: Word
    end: Word
    below: bool = False
    """The block begins behind an inaccessible page, instead of ending before one."""
    outer: tuple[Word, ...] = Field(default=(), max_length=3)
    """Only calls that come through these return addresses, innermost first."""

    def values(self) -> tuple[int, ...]:
        return (int(self.below), *self.outer)


class GuardAccess(Rule):
    """Accesses of instructions in `address` … `end`, in a region: none beside a guarded block, or to a freed one."""

    of_file: ClassVar[bool] = True

    kind: Literal["guard-access"] = "guard-access"
    address: Word
    end: Word


class SetErrno(Rule):
    """A rescue of the region sets errno, behind the undo.

    `address` is where `__errno_location` lies in this file, in static programs; others find it when they run.
    """

    kind: Literal["set-errno"] = "set-errno"
    value: int = Field(ge=0, lt=1 << 31)

    def values(self) -> tuple[int, ...]:
        return (self.value,)

    def subject(self) -> tuple[object, ...]:
        return (self.kind,)


class SetOut(Rule):
    """A rescue of the region writes `size` bytes, little-endian, at `offset` from the pointer that was argument number
    `argument` (0: the first) when the region was entered; nothing where that is NULL."""

    kind: Literal["set-out"] = "set-out"
    argument: int = Field(ge=0, le=5)
    offset: int = Field(default=0, ge=-(1 << 31), lt=1 << 31)
    size: Size
    value: Address = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not -(1 << (8 * self.size - 1)) <= self.value < 1 << (8 * self.size):
            raise ValueError(f"{self.value} does not fit in {self.size} bytes")
        return self

    def values(self) -> tuple[int, ...]:
        return self.argument, self.offset & _WORD, self.size, self.value & _WORD

    def subject(self) -> tuple[object, ...]:
        return self.kind, self.argument, self.offset


class Escalate(Rule):
    """A fault that the region meets again and again, within one entry of the next region further out, is rescued there.

    That is so after `same` rescues between which the program has changed nothing, or after `alike` ones with the same
    fault, called from the same place with the same first two arguments, between which it has read no input, or once
    these have taken so much CPU time of the thread; 0: never.
    """

    kind: Literal["escalate"] = "escalate"
    same: int = Field(default=64, ge=0, lt=1 << 31)
    alike: int = Field(default=65536, ge=0, lt=1 << 31)
    cpu_milliseconds: int = Field(default=2000, ge=0, lt=1 << 40)

    def values(self) -> tuple[int, ...]:
        return self.same, self.alike, self.cpu_milliseconds

    def subject(self) -> tuple[object, ...]:
        return (self.kind,)


class Predicate(Rule):
    """What must hold before the instruction at `address` executes; otherwise it is a fault of class `predicate`."""

    kind: Literal["predicate"] = "predicate"
    address: Word
    require: str

    @field_validator("require")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        parse(value)
        return value


class Strategy(Rule):
    """What is done about a fault in the region in place of returning an error value, where it can be.

    `address`: of `pthread_exit`, for `end-thread` in a file that has it itself.
    """

    kind: Literal["strategy"] = "strategy"
    name: Literal["die", "oblivious", "retry", "end-thread", "end-child"]
    limit: int = Field(default=0, ge=0, lt=1 << 32)
    """`oblivious`: how many accesses may be left out per entry of the region. `end-child`: the exit status."""

    def values(self) -> tuple[int, ...]:
        return STRATEGIES.index(self.name), self.limit

    def subject(self) -> tuple[object, ...]:
        return (self.kind,)


class Slice(Rule):
    """`address` to `end` in the region, entered at `address` only: undone and skipped when it faults."""

    kind: Literal["slice"] = "slice"
    resume: Word
    """Where the function goes on then."""

    def values(self) -> tuple[int, ...]:
        return (self.resume,)


class SliceExit(Rule):
    """Control that gets to `address` has left the slice at `slice`."""

    kind: Literal["slice-exit"] = "slice-exit"
    slice: Word

    def values(self) -> tuple[int, ...]:
        return (self.slice,)


class SliceSet(Rule):
    """A register's value where the function goes on after a fault in the slice at `address`."""

    kind: Literal["slice-set"] = "slice-set"
    register_name: Literal[GENERAL_REGISTERS]  # type: ignore[valid-type]
    value: Address

    def values(self) -> tuple[int, ...]:
        return GENERAL_REGISTERS.index(self.register_name), self.value & _WORD


RULES: tuple[type[Rule], ...] = (
    Budget,
    Stack,
    GuardSite,
    GuardAccess,
    SetErrno,
    SetOut,
    Escalate,
    Predicate,
    Strategy,
    Slice,
    SliceExit,
    SliceSet,
)
"""Every kind, as docs/manifest.md describes them."""

AnyRule = Annotated[
    Budget
    | Stack
    | GuardSite
    | GuardAccess
    | SetErrno
    | SetOut
    | Escalate
    | Predicate
    | Strategy
    | Slice
    | SliceExit
    | SliceSet,
    Field(discriminator="kind"),
]


def of_region(rules: Sequence[AnyRule]) -> Sequence[AnyRule]:
    """The rules of one region.  Raises ValueError: one is about the whole file, or two contradict each other."""
    for rule in rules:
        if rule.of_file:
            raise ValueError(f"a rule `{rule.kind}` is about the whole file, not about a region")
    _check_agreement(rules)
    slices = {rule.address for rule in rules if isinstance(rule, Slice)}
    if slices and any(isinstance(rule, Strategy) for rule in rules):
        raise ValueError("a `slice` is the strategy of its region, there cannot be another `strategy`")
    for rule in rules:
        of = rule.slice if isinstance(rule, SliceExit) else rule.address if isinstance(rule, SliceSet) else None
        if isinstance(rule, SliceExit | SliceSet) and of not in slices:
            raise ValueError(f"a rule `{rule.kind}` belongs to a `slice` that is not there")
    return rules


def of_file(rules: Sequence[AnyRule]) -> Sequence[AnyRule]:
    """The rules of the whole file.  Raises ValueError: one is about a region, or two contradict each other."""
    for rule in rules:
        if not rule.of_file:
            raise ValueError(f"a rule `{rule.kind}` belongs to a region")
    _check_agreement(rules)
    return rules


def _check_agreement(rules: Sequence[AnyRule]) -> None:
    said: dict[tuple[object, ...], AnyRule] = {}
    for rule in rules:
        other = said.setdefault(rule.subject(), rule)
        if other.model_copy(update={"why": rule.why}) != rule:
            raise ValueError(f"two rules `{rule.kind}` contradict each other")
