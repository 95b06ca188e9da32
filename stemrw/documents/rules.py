"""Rules: what a plan asks of the runtime beyond checkpoint, undo and error value.

Each model is one kind of rule in runtime/include/rules.h; `values` are the words that the runtime reads.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from stemrw.documents.base import Address, Document
from stemrw.documents.predicate import parse

STRATEGIES = ("return", "die", "oblivious", "retry", "end-thread", "end-child", "slice")
"""What can be done about a fault, in the order of `enum strategy` in runtime/include/rules.h (docs/strategies.md)."""

GENERAL_REGISTERS = tuple("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split())
"""In the order in which instructions encode them."""

Size = Literal[1, 2, 4, 8]
_WORD = (1 << 64) - 1


class Rule(Document):
    """What all rules have: the code they are about (link-time, where there is any), and why they are there."""

    address: Address | None = None
    end: Address | None = None
    why: str = ""

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

    def values(self) -> tuple[int, ...]:
        return self.ticks, self.cpu_milliseconds, self.memory_bytes


class GuardSite(Rule):
    """Calls of the allocator that return into `address` … `end` are given guarded heap blocks."""

    kind: Literal["guard-site"] = "guard-site"
    address: Address
    end: Address
    below: bool = False
    """The block begins behind an inaccessible page, instead of ending before one."""
    outer: tuple[Address, ...] = Field(default=(), max_length=3)
    """Only calls that come through these return addresses, innermost first."""

    def values(self) -> tuple[int, ...]:
        return (int(self.below), *self.outer)


class GuardAccess(Rule):
    """Accesses of instructions in `address` … `end`, in a region: none beside a guarded block, or to a freed one."""

    kind: Literal["guard-access"] = "guard-access"
    address: Address
    end: Address


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
    def _fits(self) -> SetOut:
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
    fault, called from the same place with the same first two arguments, between which it has read no input; 0: never.
    """

    kind: Literal["escalate"] = "escalate"
    same: int = Field(default=64, ge=0, lt=1 << 31)
    alike: int = Field(default=65536, ge=0, lt=1 << 31)

    def values(self) -> tuple[int, ...]:
        return self.same, self.alike

    def subject(self) -> tuple[object, ...]:
        return (self.kind,)


class Predicate(Rule):
    """What must hold before the instruction at `address` executes; otherwise it is a fault of class `predicate`."""

    kind: Literal["predicate"] = "predicate"
    address: Address
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
    resume: Address
    """Where the function goes on then."""

    def values(self) -> tuple[int, ...]:
        return (self.resume,)


class SliceExit(Rule):
    """Control that gets to `address` has left the slice at `slice`."""

    kind: Literal["slice-exit"] = "slice-exit"
    slice: Address

    def values(self) -> tuple[int, ...]:
        return (self.slice,)


class SliceSet(Rule):
    """A register's value where the function goes on after a fault in the slice at `address`."""

    kind: Literal["slice-set"] = "slice-set"
    register_name: Literal[GENERAL_REGISTERS]  # type: ignore[valid-type]
    value: Address

    def values(self) -> tuple[int, ...]:
        return GENERAL_REGISTERS.index(self.register_name), self.value


RULES: tuple[type[Rule], ...] = (
    Budget,
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
