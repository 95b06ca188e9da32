"""What all documents have in common: frozen, strict about unknown fields, with hexadecimal addresses in JSON."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from stemrw.text import unicode


def _address(value: Any) -> Any:
    if isinstance(value, str):
        return int(value, 0)
    return value


def _not_negative(value: int) -> int:
    if value < 0:
        raise ValueError("lies below 0")
    return value


def _word(value: int) -> int:
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("does not fit in 64 bits")
    return value


Address = Annotated[
    int,
    BeforeValidator(_address, json_schema_input_type=int | str),
    AfterValidator(_word),
    PlainSerializer(hex, return_type=str, when_used="json"),
]
"""A 64-bit address or bit pattern; an integer or a string such as "0x4d6e" on input, a hexadecimal string in JSON."""

Word = Annotated[Address, AfterValidator(_not_negative)]
"""An `Address` from 0 on: where something lies, or what stands in a register."""

SystemName = Annotated[str, AfterValidator(unicode)]
"""A path, or whatever else the system has as bytes: bytes that are not UTF-8 are escaped."""


class Document(BaseModel):
    """Base of every document and of its parts: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    def to_json(self) -> str:
        """The document as text: same document, same bytes."""
        return self.model_dump_json(indent=1, by_alias=True) + "\n"
