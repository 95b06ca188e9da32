"""Plan: what is to be changed in one file, decided and explained; the last document before bytes are written.

Made by `stemrw.plan`, read by `stemrw.rewrite`. The hash of a plan (`Plan.digest`) goes into the hardened file, so it
must not depend on where the file lies or who asked: paths and explanations take no part in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator

from stemrw.documents.base import Address, Document, Word
from stemrw.documents.evidence import RescuePoint, ReturnKind, ValueCandidate
from stemrw.documents.fault_report import FAULT_CLASSES
from stemrw.documents.localization import BinaryIdentity
from stemrw.documents.rules import AnyRule, of_file, of_region


class PlannedRegion(Document):
    """One function that is to be emulated with a checkpoint, and what it returns when it is rescued.

    `return_value` is a 64-bit pattern: a negative integer in two's complement, or the bits of a double. `check_address`
    is the instruction of the reported fault, if it lies in this file, and `check_class` the class of that fault.
    """

    address: Word
    size: int = Field(ge=0, lt=1 << 64)
    symbol: str | None = None
    why: tuple[str, ...] = ()
    return_kind: ReturnKind = "integer"
    return_value: Address = 0
    return_evidence: tuple[str, ...] = ()
    check_address: Word | None = None
    check_class: str | None = None
    rules: tuple[AnyRule, ...] = ()
    is_main: bool = False
    """The program's `main`: to return from it ends the program, which keeps what it has written to files."""
    serves: tuple[Word, ...] = ()
    """The regions for whose sake it is there, and with the last of which it goes: itself, where faults are meant to be
    rescued in it; others, whose safety net it is. Empty: itself."""
    asks: tuple[AnyRule, ...] = ()
    """Rules of the whole file that the faults ask for which are meant to be rescued here."""
    candidates: tuple[ValueCandidate, ...] = ()
    """Values that were considered, the best first."""
    considered: tuple[RescuePoint, ...] = ()
    """Of the region that a fault is meant to be rescued in: all places that were considered, from the inside out."""

    @field_validator("rules")
    @classmethod
    def _of_region(cls, value: tuple[AnyRule, ...]) -> tuple[AnyRule, ...]:
        return tuple(of_region(value))

    @field_validator("asks")
    @classmethod
    def _of_file(cls, value: tuple[AnyRule, ...]) -> tuple[AnyRule, ...]:
        return tuple(of_file(value))

    @field_validator("check_class")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in FAULT_CLASSES:
            raise ValueError("unknown fault class")
        return value

    @field_validator("return_value")
    @classmethod
    def _as_pattern(cls, value: int) -> int:
        if not -(1 << 63) <= value < 1 << 64:
            raise ValueError("return value does not fit in 64 bits")
        return value & 0xFFFF_FFFF_FFFF_FFFF


def unique(regions: Sequence[PlannedRegion]) -> Sequence[PlannedRegion]:
    """The regions of one file.  Raises ValueError: a function is listed twice."""
    if len({region.address for region in regions}) != len(regions):
        raise ValueError("a function is listed twice")
    return regions


def _ordered(rules: tuple[AnyRule, ...]) -> tuple[AnyRule, ...]:
    """The same rules, the same bytes, in whichever order they were asked for."""
    return tuple(sorted(rules, key=lambda rule: (rule.kind, rule.address or 0, rule.end or 0, repr(rule.subject()))))


class Plan(Document):
    """All regions of one file, by ascending address, each at most once."""

    schema_name: Literal["stemrw.plan"] = Field(default="stemrw.plan", alias="schema")
    version: Literal[1] = 1
    binary: BinaryIdentity
    regions: tuple[PlannedRegion, ...] = Field(min_length=1)
    rules: tuple[AnyRule, ...] = ()
    """Those that belong to no region: what the regions ask for (`asks`), together."""

    @field_validator("regions")
    @classmethod
    def _sorted_and_unique(cls, value: tuple[PlannedRegion, ...]) -> tuple[PlannedRegion, ...]:
        for region in unique(value):
            of_region(region.rules)  # one that was copied has not been looked at
        sort = ("rules", "asks")
        regions = (r.model_copy(update={name: _ordered(getattr(r, name)) for name in sort}) for r in value)
        return tuple(sorted(regions, key=lambda region: region.address))

    @field_validator("rules")
    @classmethod
    def _of_file(cls, value: tuple[AnyRule, ...]) -> tuple[AnyRule, ...]:
        return _ordered(tuple(of_file(value)))

    def canonical_json(self) -> bytes:
        """What the plan does, as JSON with sorted keys and no spaces, without paths and explanations."""
        data = self.model_dump(mode="json", by_alias=True)
        del data["binary"]["path"]
        for region in data["regions"]:
            for explanation in ("why", "return_evidence", "candidates", "considered", "serves", "asks"):
                del region[explanation]
        for rule in [*data["rules"], *(rule for region in data["regions"] for rule in region["rules"])]:
            del rule["why"]
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of `canonical_json`: names the plan inside the hardened file."""
        return hashlib.sha256(self.canonical_json()).digest()
