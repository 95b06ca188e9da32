"""Rules: what a plan asks of the runtime beyond checkpoint, undo and error value.

Each model is one kind of rule in runtime/include/rules.h; `values` are the words that the runtime reads.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stemrw.documents.base import Address, Document


class Rule(Document):
    """What all rules have: the code they are about (link-time, where there is any), and why they are there."""

    address: Address | None = None
    end: Address | None = None
    why: str = ""

    def values(self) -> tuple[int, ...]:
        """At most five 64-bit words, as rules.h says for this kind."""
        return ()


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


class Stack(Rule):
    """Returns and indirect branches of emulated code go where the program has sent them, or are faults
    (`return-address`, `stack-smash`, `control-flow`). It is about the whole file, for all regions share their code."""

    kind: Literal["stack"] = "stack"


RULES: tuple[type[Rule], ...] = (Budget, Stack)
"""Every kind, as docs/manifest.md describes them."""

AnyRule = Annotated[Budget | Stack, Field(discriminator="kind")]
