"""Verification: what `stemrw verify` found out about one hardened file, check by check.  See docs/verify.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from stemrw.documents.base import Address, Document, SystemName
from stemrw.documents.manifest import PatchKind, Sha256

CheckOutcome = Literal["passed", "failed", "skipped"]


class Check(Document):
    """One question and its answer; `details` are sentences, the reason first where it failed or was skipped.

    `group` is "structure", "replay", "check" or "emulate".
    """

    group: Literal["structure", "replay", "check", "emulate"]
    name: SystemName
    outcome: CheckOutcome
    details: tuple[str, ...] = ()


class EmulatedFunction(Document):
    """How original and hardened function compared in an emulator, over all inputs of both ways to run.

    `ends` counts comparisons by how the original ended ("returned", "fault", "system call"), `left_out` the inputs that
    were not compared, by reason; `natively` the hardened runs that were not emulated by the runtime, by its reason.
    `covered` of the function's `size` bytes were executed by the original.
    """

    function: Address
    name: str | None = None
    kind: PatchKind
    size: int = Field(ge=0)
    covered: int = Field(ge=0)
    ends: Mapping[str, int]
    rescued: int = Field(ge=0)
    left_out: Mapping[str, int]
    natively: Mapping[str, int]
    differences: tuple[str, ...] = ()


class Verification(Document):
    """All checks of one file in the order in which they were made; `passed` if none failed."""

    schema_name: Literal["stemrw.verification"] = Field(default="stemrw.verification", alias="schema")
    version: Literal[1] = 1
    tool_version: str
    sha256: Sha256
    passed: bool
    checks: tuple[Check, ...]
    functions: tuple[EmulatedFunction, ...] = ()
