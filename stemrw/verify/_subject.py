"""What is looked at: a hardened file, its original and its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from stemrw.documents.manifest import Manifest
from stemrw.elf import Elf
from stemrw.runtime import RuntimeImage


@dataclass(frozen=True)
class Subject:
    """What is looked at: both files, the manifest, and the layout of the runtime's tables."""

    original: Elf
    hardened: Elf
    manifest: Manifest
    image: RuntimeImage

    @property
    def same_runtime(self) -> bool:
        """Whether the file carries the runtime of this stemrw, whose symbols are known."""
        return self.manifest.runtime.sha256 == self.image.sha256

    @cached_property
    def payload(self) -> bytes:
        payload = self.manifest.payload
        return bytes(self.hardened.data[payload.offset : payload.offset + payload.size])

    @cached_property
    def header(self) -> dict[str, int]:
        """The payload header's fields as numbers; empty where there is none."""
        return self.unpack("payload_header", 0)

    @cached_property
    def records(self) -> list[dict[str, int]]:
        """The patch table."""
        count, table = self.header.get("patch_count", 0), self.header.get("patch_table", 0)
        size = self.image.structs["patch"].size
        room = max(len(self.payload) - table, 0) // size
        return [self.unpack("patch", table + size * i) for i in range(min(count, room))]

    def raw(self, struct: str, field: str, at: int) -> bytes:
        """The bytes of a field of the struct at an offset of the payload."""
        offset, size = self.image.structs[struct].fields[field]
        return self.payload[at + offset : at + offset + size]

    def unpack(self, struct: str, at: int) -> dict[str, int]:
        layout = self.image.structs[struct]
        if at + layout.size > len(self.payload):
            return {}
        return {name: int.from_bytes(value, "little") for name, value in layout.unpack(self.payload, at).items()}

    def record_at(self, address: int) -> tuple[int, dict[str, int]] | None:
        """Offset in the payload, and fields, of the struct patch for an address."""
        for i, record in enumerate(self.records):
            if record["address"] == address:
                return self.header["patch_table"] + self.image.structs["patch"].size * i, record
        return None
