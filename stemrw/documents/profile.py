"""Profile: what one entry of each region used at most while a good workload ran, and budgets made of it.

Written by `stemrw profile`, read by `stemrw patch --profile`.  See docs/budgets.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from stemrw.documents.base import Document, SystemName, Word
from stemrw.documents.localization import BinaryIdentity
from stemrw.documents.read import complaint, read_json, shown
from stemrw.errors import DocumentError

SCHEMA = "stemrw.profile"
VERSION = 1


class RegionProfile(Document):
    """One region.  Without any entry nothing was learned, and it has no budget.

    `entries` are those of the process that had most. `ticks` (rounded up to slices) and `memory_bytes` are what one
    entry used at most; the budgets are multiples of these, 0 where nothing was learned.
    """

    address: Word
    symbol: str | None = None
    entries: int = Field(ge=0)
    ticks: int = Field(ge=0)
    memory_bytes: int = Field(ge=0)
    budget_ticks: int = Field(default=0, ge=0, lt=1 << 63)
    budget_memory_bytes: int = Field(default=0, ge=0, lt=1 << 63)


class Profile(Document):
    """One workload on one file."""

    schema_name: Literal["stemrw.profile"] = Field(default="stemrw.profile", alias="schema")
    version: Literal[1] = 1
    binary: BinaryIdentity
    command: tuple[SystemName, ...]
    status: int
    """Exit status of the command, as a shell has it."""
    processes: int = Field(ge=0)
    """How many processes ran the file and were looked at when they ended."""
    recoveries: int = Field(ge=0)
    """Rescues: a good workload has none."""
    degradations: int = Field(ge=0)
    """Entries that went on natively, and were not measured to their end."""
    multiple: int = Field(ge=1)
    regions: tuple[RegionProfile, ...]

    @property
    def has_learned(self) -> bool:
        """Whether a region was entered."""
        return any(region.entries for region in self.regions)

    @property
    def is_good(self) -> bool:
        """Whether it is a measure: the command went well, nothing was rescued, and something was learned."""
        return not self.status and not self.recoveries and self.has_learned


def load_profile(path: Path) -> Profile:
    """Read a profile.  Raises DocumentError: unreadable, not JSON, another document or version, wrong fields."""
    origin = "`stemrw profile` writes it"
    data = read_json(path, "profile", hint=origin)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise DocumentError("this is not a profile of stemrw", file=path, hint=origin)
    if data.get("version") != VERSION:
        hint = f"this stemrw reads version {VERSION}"
        raise DocumentError(f"unknown profile version {shown(data.get('version'))}", file=path, hint=hint)
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        raise DocumentError(complaint(error), file=path, hint="docs/budgets.md describes every field") from None
