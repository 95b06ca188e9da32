"""What a source says of one error, before it is known which file's code its addresses are in.

Whatever the source does not say is None or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stemrw.documents.fault_report import Access, FaultClass

MOST = 10_000
"""Errors of one source that are looked at."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame as the source shows it.

    `pc` is in the process's own addresses.  Where `returns` is set it is a return address: the one behind the call.
    """

    pc: int | None = None
    symbol: str | None = None
    module: str | None = None
    """Path, or bare name, of the file."""
    offset: int | None = None
    """Of `pc` in the module, as `Surroundings.offsets_from` says."""
    build_id: str | None = None
    returns: bool = True


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping of a file: where it begins in the process, and at which offset in the file."""

    start: int
    offset: int
    path: str


@dataclass(frozen=True)
class Surroundings:
    """What a source says of the process as a whole, for all its errors."""

    program: str | None = None
    command: tuple[str, ...] = ()
    pid: int | None = None
    mappings: tuple[Mapped, ...] = ()
    texts: Mapping[str, int] = field(default_factory=dict)
    """By path: where the module's `.text` begins in the process."""
    build_ids: Mapping[str, str] = field(default_factory=dict)
    """By path or name."""
    usual: tuple[int, ...] = ()
    """Load addresses that the tool usually gives to position-independent programs."""
    offsets_from_start: bool = False
    """Offsets count from the first byte mapped; otherwise they are link-time addresses."""


@dataclass(frozen=True)
class Finding:
    """One error.  Where `fault_class` is None it is no fault, and `refusal` says why."""

    title: str
    fault_class: FaultClass | None
    refusal: str | None = None
    stack: tuple[Seen, ...] = ()
    truncated: bool = False
    """The source says that there are more frames than it shows."""
    signal: str | None = None
    si_code: int | None = None
    fault_address: int | None = None
    access: Access | None = None
    access_size: int | None = None
    block_size: int | None = None
    block_offset: int | None = None
    allocated: tuple[Seen, ...] = ()
    freed: tuple[Seen, ...] = ()
    registers: Mapping[str, int] = field(default_factory=dict)
    tid: int | None = None
    unsure: bool = False
    """The signal is known, the address accessed is not: the instruction may tell more."""


@dataclass(frozen=True)
class Source:
    """Everything that one file says."""

    tool: str
    """Which tool wrote the file, for people."""
    findings: tuple[Finding, ...]
    surroundings: Surroundings = Surroundings()
