"""Explanation: why a file is, or would be, hardened as it is: places and values that were considered, with evidence.

Made by `stemrw explain`, from fault reports or from the manifest of a hardened file.  See docs/explain.md.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stemrw.documents.base import Address, Document, Word
from stemrw.documents.fault_report import Text
from stemrw.documents.plan import PlannedRegion
from stemrw.documents.rules import AnyRule


class ExplainedFault(Document):
    """One fault: its class, the faulting instruction if it lies in the file, and how it was located, in words."""

    fault_class: str | None = None
    address: Address | None = None
    frames: int = Field(ge=0)
    """Frames of the report that lie in this file."""
    located: tuple[str, ...] = ()


class Explanation(Document):
    """What was decided for one file; `hardened` is True where it was read from a manifest, which keeps no faults.

    With faults, of a file that is hardened already, it is what patching that file would give.
    """

    schema_name: Literal["stemrw.explanation"] = Field(default="stemrw.explanation", alias="schema")
    version: Literal[1] = 1
    path: Text
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the original file."""
    hardened: bool
    faults: tuple[ExplainedFault, ...] = ()
    present: tuple[Word, ...] = ()
    """Addresses of the regions that the file has already."""
    regions: tuple[PlannedRegion, ...]
    rules: tuple[AnyRule, ...] = ()
