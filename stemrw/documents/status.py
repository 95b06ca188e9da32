"""Status: counters and last recoveries of a running hardened process, module by module.  See docs/status.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from stemrw.documents.base import Address, Document
from stemrw.documents.manifest import PatchKind, Sha256

RuntimeState = Literal["unused", "ready", "stopped", "disabled"]


class PatchStatus(Document):
    """One patched function: how often a region was entered, left normally, rescued, or run natively.

    `function` is its link-time entry; `translated`: its code lies in the code cache.  `peak_ticks` and `peak_memory`
    (bytes): what one entry has used at most, where there are budgets; a multiple of a slice of ticks, 0 for less.
    """

    kind: PatchKind
    function: Address
    symbol: str | None = None
    entries: int
    commits: int
    recoveries: int
    degradations: int
    translated: bool
    peak_ticks: int = 0
    peak_memory: int = 0


class RecoveryStatus(Document):
    """One rescue; the fields are those of the events that the runtime writes.

    `number` counts the module's recoveries from 1; `time` is UTC.  `pc` is a link-time address of this module where
    `in_region_module`, else of the library that it lies in.
    """

    number: int
    time: str
    thread: int
    fault_class: str = Field(alias="class")
    region: Address
    symbol: str | None = None
    pc: Address
    in_region_module: bool
    address: Address
    returned: Address
    log_bytes: int
    irreversible: int


class ModuleStatus(Document):
    """One hardened file in the process.

    `state` is "unused" (nothing of it has run yet), "ready", "stopped" (its last finaliser has run) or "disabled" (all
    runs natively; `reasons` say why).
    `reasons` counts degradations by reason.  `threads` is how many contexts were made, `translated_bytes` how much code
    lies in the code cache, `log_peak` the largest undo log in bytes.  `recent` are the last recoveries, newest first;
    `unreadable` of them were being written while they were read.
    """

    path: str | None
    payload: Address
    bias: Address
    plan_sha256: Sha256
    state: RuntimeState
    recoveries: int
    degradations: int
    reasons: Mapping[str, int]
    threads: int
    translated_units: int
    translated_bytes: int
    log_peak: int
    patches: tuple[PatchStatus, ...]
    recent: tuple[RecoveryStatus, ...]
    unreadable: int = 0


class Status(Document):
    """A process as it was at one moment, and its hardened modules by ascending address; at least one."""

    schema_name: Literal["stemrw.status"] = Field(default="stemrw.status", alias="schema")
    version: Literal[1] = 1
    pid: int
    command: str
    modules: tuple[ModuleStatus, ...] = Field(min_length=1)
