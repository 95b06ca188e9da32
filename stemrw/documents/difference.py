"""Difference: in what a hardened file differs from its original, and whether its manifest accounts for every byte.

Made by `stemrw.diff` from the two files and the manifest, for the person or machine that signs a release off.
See docs/diff.md.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stemrw.documents.base import Address, Document
from stemrw.documents.manifest import HexBytes, PatchKind, Sha256
from stemrw.documents.plan import PlannedRegion
from stemrw.documents.rules import AnyRule

Verdict = Literal["accounted", "accounted-not-rebuilt", "unaccounted"]
Outcome = Literal["ok", "failed", "skipped", "differs"]


class FileFacts(Document):
    """One of the two files; `path` as the user named it, None for an original that was restored from the manifest.

    `size` is in bytes, `mode` octal with the file type left out, `owner` "uid:gid"; `attributes` are the names of the
    extended attributes.
    """

    path: str | None
    sha256: Sha256
    size: int = Field(ge=0)
    build_id: str | None = None
    mode: str | None = None
    owner: str | None = None
    attributes: tuple[str, ...] = ()


class Check(Document):
    """One thing that was looked at: what was found, in a sentence.

    `differs` is a difference outside the content (permissions), which no manifest can account for.
    """

    name: Literal["manifest", "original", "bytes", "structure", "rebuilt", "attributes"]
    outcome: Outcome
    text: str


class CodeLine(Document):
    """One instruction: link-time address, bytes and Intel-syntax text; undecodable bytes are `.byte`s."""

    address: Address
    code: HexBytes
    text: str


class ChangedRange(Document):
    """A range of the original's bytes that was changed; `accounted`: the manifest names it and knows what stood there.

    `original` and `hardened` are the bytes in both files; of a range that is longer, the first 4096.
    """

    offset: int = Field(ge=0)
    size: int = Field(gt=0)
    address: Address | None = None
    what: str
    original: HexBytes
    hardened: HexBytes
    accounted: bool


class AppendedRange(Document):
    """A range behind the original's last byte; `address` where it is loaded into memory."""

    offset: int = Field(ge=0)
    size: int = Field(ge=0)
    what: str
    address: Address | None = None


class PatchedEntry(Document):
    """One function entry before and after, its gate, and where its replaced instructions went.

    `kind` and `name` are the manifest's, `back` is where the displaced instructions lead back to.
    """

    kind: PatchKind
    name: str | None
    function: Address
    before: tuple[CodeLine, ...]
    after: tuple[CodeLine, ...]
    gate: tuple[CodeLine, ...]
    displaced: tuple[CodeLine, ...]


class HeaderChange(Document):
    """A program or section header that is not as it was; None where there is none."""

    table: Literal["program", "section"]
    index: int
    before: str | None
    after: str | None


class Difference(Document):
    """Everything in which the two files differ.  `verdict` is what all `checks` come to.

    `identical` counts the bytes of the original that are unchanged, all of which were compared.
    """

    schema_name: Literal["stemrw.difference"] = Field(default="stemrw.difference", alias="schema")
    version: Literal[1] = 1
    tool_version: str
    """Of the stemrw that compared."""
    made_by: str | None = None
    """Version of the stemrw that hardened, as the manifest says."""
    verdict: Verdict
    checks: tuple[Check, ...]
    original: FileFacts
    hardened: FileFacts
    identical: int
    regions: tuple[PlannedRegion, ...] = ()
    rules: tuple[AnyRule, ...] = ()
    """Those of the whole file."""
    changes: tuple[ChangedRange, ...] = ()
    entries: tuple[PatchedEntry, ...] = ()
    headers: tuple[HeaderChange, ...] = ()
    appended: tuple[AppendedRange, ...] = ()

    @property
    def accounted(self) -> bool:
        return self.verdict != "unaccounted"
