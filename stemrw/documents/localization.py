"""Localization: where in one file a fault lies, frame by frame, and which frame is to be made survivable.

Made by `stemrw.localize` from a fault report and an image, read by `stemrw.plan`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stemrw.documents.base import Address, Document

Detector = Literal["heap", "fortify", "stack-protector", "assert"]


class BinaryIdentity(Document):
    """The file that is to be patched; `path` is for people only and takes no part in any decision or hash."""

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    build_id: str | None = Field(default=None, pattern="^[0-9a-f]+$")


class LocalizedFrame(Document):
    """One frame of the report that lies in the file.

    `index` counts from 0 (the crash) over *all* frames of the report; `address` is the PC of frame 0 and the return
    address of every other frame. `function` is the entry of the function that holds the frame, after `.cold` parts were
    mapped to the function they were split from; None where nothing known covers the address.
    """

    index: int
    address: Address
    function: Address | None = None
    size: int | None = None
    symbol: str | None = None
    guess: bool = False
    evidence: tuple[str, ...] = ()


class Localization(Document):
    """Frames of one fault in one file, innermost first, and the frame at which planning starts.

    `pinned` is True where the user named the function (`--region`, `--frame`, or a report by hand that names a function
    only): the plan must then take exactly this function. `truncated` says that the report's backtrace was cut.
    """

    schema_name: Literal["stemrw.localization"] = Field(default="stemrw.localization", alias="schema")
    version: Literal[1] = 1
    binary: BinaryIdentity
    fault_class: str | None = None
    """None where a function was named without a report."""
    fault_pc: Address | None = None
    """Address of the faulting instruction, where it lies in this file."""
    frames: tuple[LocalizedFrame, ...]
    start: int = 0
    """Position in `frames` (not the frame's index in the report) of the frame at which planning starts."""
    pinned: bool = False
    truncated: bool = False
    cpu_seconds: float | None = None
    """CPU time that had been used when a hang was noticed."""
    detector: Detector | None = None
    """Which part of the C library noticed the fault: its heap, a fortified function, the stack protector, an assert."""
    predicate: str | None = None
    """What must hold at `fault_pc`, for a fault of class `predicate`."""
    allocated: tuple[LocalizedFrame, ...] = ()
    """Frames of this file, innermost first, in which the misused heap block was allocated; `index` counts there."""
    below: bool = False
    """What was accessed lies below that block."""
    library: str | None = None
    """The file that the innermost frame had called into, where the fault was not in this one."""
    evidence: tuple[str, ...] = ()
