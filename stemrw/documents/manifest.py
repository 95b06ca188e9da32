"""Manifest: what was done to one file, and all that is needed to undo it.

Written beside the hardened file by `stemrw patch`; `stemrw revert` reads it.  It holds no time, and no path but that of
the events: the same patch of the same file gives the same manifest.  See docs/manifest.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from stemrw.documents.base import Document, Word
from stemrw.documents.plan import PlannedRegion, unique
from stemrw.documents.read import complaint, read_json, shown
from stemrw.documents.rules import AnyRule, of_file
from stemrw.errors import DocumentError

SCHEMA = "stemrw.manifest"
VERSION = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HexBytes = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]


PatchKind = Literal["region", "start", "stop", "observe", "protect"]


class FileIdentity(Document):
    """One file's content; `size` in bytes."""

    sha256: Sha256
    build_id: Annotated[HexBytes, Field(min_length=2)] | None = None
    size: int = Field(ge=0)


class RuntimeIdentity(Document):
    """The injected runtime image."""

    version: str
    abi: int
    sha256: Sha256


class Payload(Document):
    """Where the additions lie: `offset` in the file, addresses link-time, sizes in bytes."""

    address: Word
    offset: int = Field(ge=0)
    size: int = Field(ge=0)
    state_address: Word
    state_size: int = Field(ge=0)


class Patch(Document):
    """One function entry that leads to a gate now.

    `kind` is "region" (emulated with a checkpoint), "start" (prepares the runtime), "stop" (gives everything back: the
    library may be unloaded), "observe" (a call that changes signal handling) or "protect" (one that changes what may be
    done with memory: code may be about to change).  `address` is the first replaced byte, `function` the entry: they
    differ by an endbr64.  With a `stone`, the entry is a short jump to there, and the jump to the gate stands in this
    padding.
    """

    kind: PatchKind
    name: str | None = None
    function: Word
    address: Word
    length: int = Field(ge=0)
    gate: Word
    displaced: Word
    stone: Word | None = None


class Change(Document):
    """A changed range of bytes of the original file; `address` is set where the range is code."""

    offset: int = Field(ge=0)
    original: HexBytes
    what: str
    address: Word | None = None

    @property
    def data(self) -> bytes:
        return bytes.fromhex(self.original)


class Manifest(Document):
    """Everything about one hardened file.  `regions` repeats the plan: addresses, reasons, return values, evidence."""

    schema_name: Literal["stemrw.manifest"] = Field(default="stemrw.manifest", alias="schema")
    version: Literal[1] = 1
    tool_version: str
    runtime: RuntimeIdentity
    plan_sha256: Sha256
    input: FileIdentity
    output: FileIdentity
    payload: Payload
    regions: tuple[PlannedRegion, ...]
    rules: tuple[AnyRule, ...] = ()
    patches: tuple[Patch, ...]
    unobserved: tuple[str, ...] = ()
    """What the runtime does not see: imports that change signal handling but are called in another way than through a
    stub; a library's DT_INIT or DT_FINI in which no jump fits."""
    events: str | None = None
    """The file to which recoveries are appended as the user named it, if none is named at run time."""
    changes: tuple[Change, ...]
    """By ascending offset, disjoint.  What lies behind the original's last byte was appended."""

    @field_validator("regions")
    @classmethod
    def _unique(cls, value: tuple[PlannedRegion, ...]) -> tuple[PlannedRegion, ...]:
        return tuple(unique(value))

    @field_validator("rules")
    @classmethod
    def _of_file(cls, value: tuple[AnyRule, ...]) -> tuple[AnyRule, ...]:
        return tuple(of_file(value))


def manifest_path(hardened: Path) -> Path:
    """Where the manifest of a hardened file is looked for and written."""
    return hardened.with_name(hardened.name + ".manifest.json")


def load_manifest(path: Path) -> Manifest:
    """Read a manifest.  Raises DocumentError: unreadable, not JSON, another document or version, wrong fields."""
    origin = "`stemrw patch` writes it beside the hardened file; --manifest names it"
    data = read_json(path, "manifest", hint=origin)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise DocumentError("this is not a manifest of stemrw", file=path, hint=origin)
    if data.get("version") != VERSION:
        hint = f"this stemrw reads version {VERSION}"
        raise DocumentError(f"unknown manifest version {shown(data.get('version'))}", file=path, hint=hint)
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise DocumentError(complaint(error), file=path, hint="docs/manifest.md describes every field") from None
