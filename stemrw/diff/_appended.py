"""What lies behind the original's last byte, part by part."""

from __future__ import annotations

from collections.abc import Iterator

from stemrw.documents.difference import AppendedRange
from stemrw.documents.manifest import Manifest
from stemrw.elf import Elf
from stemrw.runtime import RuntimeImage


def appended(original: Elf, hardened: Elf, manifest: Manifest | None, image: RuntimeImage) -> Iterator[AppendedRange]:
    """The parts in their order, without gaps."""
    at, end = len(original.data), len(hardened.data)
    parts = sorted(_parts(hardened, manifest, image), key=lambda part: part.offset)
    for part in parts:
        if at <= part.offset and part.size and part.offset + part.size <= end:
            if part.offset > at:
                yield AppendedRange(offset=at, size=part.offset - at, what=_filler(hardened, at, part.offset))
            yield part
            at = part.offset + part.size
    if at < end:
        yield AppendedRange(offset=at, size=end - at, what=_filler(hardened, at, end))


def _filler(hardened: Elf, start: int, stop: int) -> str:
    content = bytes(hardened.data[start:stop])
    return "padding" if not content.strip(b"\0\xcc") else "not known to the manifest"


def _parts(hardened: Elf, manifest: Manifest | None, image: RuntimeImage) -> Iterator[AppendedRange]:
    if manifest is not None and manifest.payload.offset >= 0 and manifest.payload.size > 0:
        payload = manifest.payload
        inside = list(_payload_parts(hardened, manifest, image))
        yield from inside or [
            AppendedRange(offset=payload.offset, size=payload.size, what="payload", address=payload.address)
        ]
    if hardened.sections:
        names = hardened.sections[hardened.names_index]
        yield AppendedRange(offset=names.offset, size=names.size, what="names of the sections")
        size = len(hardened.sections) * len(hardened.sections[0].pack())
        yield AppendedRange(offset=hardened.section_table, size=size, what="section headers")


def _payload_parts(hardened: Elf, manifest: Manifest, image: RuntimeImage) -> Iterator[AppendedRange]:
    """What runtime/include/abi.h lays out in the payload; nothing where the layout is of another version."""
    payload, patches = manifest.payload, manifest.patches
    if manifest.runtime.abi != image.constants["ABI_VERSION"] or not patches:
        return
    raw = bytes(hardened.data[payload.offset : payload.offset + image.structs["payload_header"].size])
    if len(raw) < image.structs["payload_header"].size:
        return
    fields = {k: int.from_bytes(v, "little") for k, v in image.structs["payload_header"].unpack(raw).items()}
    gates = min(patch.gate for patch in patches) - payload.address
    displaced = min(patch.displaced for patch in patches) - payload.address
    rules, events = fields["rule_table"], fields["events_path"] or payload.size
    targets = _targets(hardened, manifest, image, rules)
    bounds = [
        (0, fields["image_size"], "runtime"),
        (fields["patch_table"], gates, "table of patched entries"),
        (gates, displaced, "gates"),
        (displaced, targets, "displaced instructions"),
        (targets, rules, "functions that are no targets of pointers"),
        (rules, events, "rules"),
        (events, payload.size, "path of the events file"),
    ]
    for start, stop, what in bounds:
        if 0 <= start < stop <= payload.size:
            yield AppendedRange(
                offset=payload.offset + start, size=stop - start, what=what, address=payload.address + start
            )


def _targets(hardened: Elf, manifest: Manifest, image: RuntimeImage, rules: int) -> int:
    """Where the table of the rule `stack` begins, offset in the payload; without that rule, where the rules do."""
    if not any(rule.kind == "stack" for rule in manifest.rules):
        return rules
    record = image.structs["rule"]
    kind, module = image.constants["RULE_STACK"], image.constants["RULE_MODULE"] & 0xFFFF_FFFF
    for at in range(manifest.payload.offset + rules, manifest.payload.offset + manifest.payload.size, record.size):
        raw = bytes(hardened.data[at : at + record.size])
        if len(raw) < record.size:
            break
        fields = record.unpack(raw)
        if (int.from_bytes(fields["kind"], "little"), int.from_bytes(fields["patch"], "little")) == (kind, module):
            return int.from_bytes(fields["value"][:8], "little")
    return rules
