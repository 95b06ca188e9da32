"""Inspection: what one file is, which of its functions can be made survivable, and what stands in the way.

Made by `stemrw.inspect` before anything is patched.  See docs/inspect.md.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stemrw.documents.base import Address, Document, SystemName
from stemrw.documents.manifest import FileIdentity

Severity = Literal["blocks", "degrades", "note"]


class Obstacle(Document):
    """One thing that stands in the way.

    `blocks`: no function of the file can be patched.  `degrades`: it can, but less is survived or something else has to
    be done.  `note`: good to know.  `code` names it for machines, `what` says it for people, `advice` what to do.
    """

    code: str = Field(pattern="^[a-z][a-z0-9-]*$")
    severity: Severity
    what: str
    advice: str


class Build(Document):
    """What the file is and what made it, as far as it says so itself; None and empty: it does not say."""

    kind: Literal["program", "library"]
    linking: Literal["dynamic", "static"]
    position: Literal["independent", "fixed"]
    interpreter: str | None = None
    libc: Literal["glibc", "musl", "other", "none"] | None = None
    needed: tuple[str, ...] = ()
    linker: str | None = None
    compilers: tuple[str, ...] = ()
    package: str | None = None
    control_flow: tuple[Literal["ibt", "shstk"], ...] = ()
    """Parts of the processor's control-flow enforcement that the file says it is fit for."""
    symbols: bool
    """Whether it has a symbol table (`.symtab`); a dynamic one is there in any case."""
    debug: Literal["inside", "separate", "named"] | None = None
    """DWARF: in the file, in an installed debug file, or in one that is named but not installed."""


class Reason(Document):
    """Why the entries of `count` functions cannot be patched; `example` is the first of them."""

    text: str
    count: int = Field(gt=0)
    example: Address


class FunctionSummary(Document):
    """Counts of functions; `parts` split off other functions (`.cold`) are patched with these and counted apart.

    `found` counts by what told of them first, `named` by the table that knows their names. `covered_bytes` of the
    `code_bytes` in executable sections belong to a function or a part.
    """

    total: int
    patchable: int
    parts: int
    found: dict[str, int] = Field(default_factory=dict)
    named: dict[str, int] = Field(default_factory=dict)
    code_bytes: int
    covered_bytes: int
    refused: tuple[Reason, ...] = ()
    """By descending count."""


class InspectedFunction(Document):
    """One function: `source` told of it; `refusal` is why its entry cannot be patched, None if it can.

    `part_of_another` functions are split off others and are patched with them.
    """

    address: Address
    size: int
    name: str | None = None
    source: str
    part_of_another: bool = False
    refusal: str | None = None


class Hardened(Document):
    """What a file that is hardened already was hardened with; the rest of the document is about its original, then.

    `regions` are the entries of its regions. Without its manifest only the payload itself can be asked.
    """

    tool_version: str | None = None
    runtime_abi: int
    plan_sha256: str
    regions: tuple[Address, ...]
    manifest: bool


class Inspection(Document):
    """Everything about one file; `patchable` is the answer: nothing blocks it."""

    schema_name: Literal["stemrw.inspection"] = Field(default="stemrw.inspection", alias="schema")
    version: Literal[1] = 1
    tool_version: str
    path: SystemName
    file: FileIdentity
    patchable: bool
    build: Build
    hardened: Hardened | None = None
    functions: FunctionSummary
    obstacles: tuple[Obstacle, ...] = ()
    """By severity, the worst first."""
    listing: tuple[InspectedFunction, ...] | None = None
    """All functions by address, where they were asked for."""
