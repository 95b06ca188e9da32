"""Evidence: what was considered before a plan was made: error values of a function, and places to return from.

Parts of plan, manifest and explanation. They explain decisions and take no part in any: the hash of a plan leaves them
out.
"""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from stemrw.documents.base import Address, Document, Word

ReturnKind = Literal["integer", "double", "void"]


class ValueCandidate(Document):
    """One value that the function could return when it is rescued.

    `value` is a 64-bit pattern as in a planned region. `score` orders the candidates of one function and means nothing
    beside those of another. `evidence` is what speaks for it and against it, each with its points.
    """

    kind: ReturnKind = "integer"
    value: Address = 0
    score: int
    evidence: tuple[str, ...] = ()

    @field_validator("value")
    @classmethod
    def _as_pattern(cls, value: int) -> int:
        return value & 0xFFFF_FFFF_FFFF_FFFF


class RescuePoint(Document):
    """One function of the backtrace that could be rescued, with the verdict on it.

    `frame` is its index in the report, -1 where it is in none. `score` orders the points of one fault; None where the
    rules do not leave a choice (a function that never returns, one that the user named).
    """

    address: Word
    symbol: str | None = None
    frame: int
    verdict: Literal["chosen", "net", "rejected"]
    score: int | None = None
    reasons: tuple[str, ...] = ()
