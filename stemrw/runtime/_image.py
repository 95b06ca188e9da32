"""The runtime image and what its description says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stemrw.errors import UsageError


@dataclass(frozen=True)
class Struct:
    """Layout of one C struct: its size, and offset and size of each field, in bytes."""

    name: str
    size: int
    fields: Mapping[str, tuple[int, int]]

    def pack(self, **values: int | bytes) -> bytes:
        """The struct's bytes, little-endian; fields that are not named are zero.

        Raises KeyError for a field that the struct does not have, OverflowError for a value that does not fit.
        """
        data = bytearray(self.size)
        for name, value in values.items():
            offset, size = self.fields[name]
            if isinstance(value, int):
                value = value.to_bytes(size, "little")
            elif len(value) > size:
                raise OverflowError(f"{self.name}.{name} has {size} bytes, not {len(value)}")
            data[offset : offset + len(value)] = value
        return bytes(data)

    def unpack(self, data: bytes, at: int = 0) -> dict[str, bytes]:
        """The raw bytes of each field of the struct found at `at`; raises ValueError if `data` ends before it does."""
        if at < 0 or at + self.size > len(data):
            raise ValueError(f"struct {self.name} does not lie within {len(data)} bytes")
        return {name: data[at + offset : at + offset + size] for name, (offset, size) in self.fields.items()}


_COUNTS = frozenset({"REASON_COUNT"})
"""Constants that are no enumerators, though they are named like some."""


@dataclass(frozen=True)
class RuntimeImage:
    """The injected runtime, as built."""

    data: bytes
    version: str
    sha256: str
    constants: Mapping[str, int]
    structs: Mapping[str, Struct]
    symbols: Mapping[str, int]
    """Offset from the image's first byte by name."""

    @property
    def magic(self) -> bytes:
        """The first bytes of every payload, by which a hardened file is recognised."""
        offset, size = self.structs["payload_header"].fields["magic"]
        return self.data[offset : offset + size]

    def state_size(self, patches: int) -> int:
        """Bytes of writable state that a file with so many patches needs."""
        return self.constants["STATE_FIXED_BYTES"] + self.constants["STATE_PATCH_BYTES"] * patches

    def fault_class(self, name: str) -> int:
        """The number of a fault class as documents name it ("null-dereference"); raises KeyError."""
        return self.constants["FAULT_" + name.upper().replace("-", "_")]

    def enumerator(self, prefix: str, value: int) -> str:
        """The name of an enumerator as documents have it: `enumerator("FAULT_", 1)` is "null-dereference".

        A value that has no name is its number.
        """
        for name, number in self.constants.items():
            if name.startswith(prefix) and number == value and name not in _COUNTS:
                return name.removeprefix(prefix).lower().replace("_", "-")
        return str(value)


@cache
def load_image(directory: Path | None = None) -> RuntimeImage:
    """The image beside this module, or the one in `directory`.  Raises UsageError: it was not built, or is damaged."""
    directory = directory or Path(__file__).parent
    description, binary = directory / "image-x86_64.json", directory / "image-x86_64.bin"
    hint = "install stemrw with pip, or run `python runtime/build.py stemrw/runtime` in a checkout"
    try:
        described: dict[str, Any] = json.loads(description.read_bytes())
        data = binary.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the runtime image cannot be read: {error.strerror}", file=error.filename, hint=hint
        ) from None
    if hashlib.sha256(data).hexdigest() != described["sha256"]:
        raise UsageError("the runtime image is not the one that its description is about", file=binary, hint=hint)
    structs = {
        name: Struct(name, layout["size"], {part: (at, size) for part, (at, size) in layout["fields"].items()})
        for name, layout in described["structs"].items()
    }
    return RuntimeImage(
        data, described["version"], described["sha256"], described["constants"], structs, described["symbols"]
    )
