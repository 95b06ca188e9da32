"""Is a hardened file what its manifest says, and nothing else?  Nothing is run, and nothing is taken from the rewriter.

Each check is a function that yields complaints; a check without complaints has passed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from stemrw import __version__
from stemrw.documents.localization import BinaryIdentity
from stemrw.documents.manifest import Manifest, Patch
from stemrw.documents.plan import Plan
from stemrw.documents.verification import Check
from stemrw.verify import _code, _headers, _lief, _rules
from stemrw.verify._subject import Subject

_MOST_COMPLAINTS = 5
_SECTION_OFFSET, _SECTION_COUNT = range(0x28, 0x30), range(0x3C, 0x3E)
"""Where e_shoff and e_shnum stand in the file header."""
_SEGMENT_SIZE = 56


def structure_checks(subject: Subject) -> Iterator[Check]:
    """All checks, in an order in which the first failure says most."""
    for name, check in _CHECKS.items():
        complaints = list(check(subject))
        shown = complaints[:_MOST_COMPLAINTS]
        if len(complaints) > len(shown):
            shown.append(f"and {len(complaints) - len(shown)} more")
        yield Check(group="structure", name=name, outcome="failed" if shown else "passed", details=tuple(shown))
    yield _lief.second_opinion(subject.original, subject.hardened)


def _sha256(subject: Subject) -> Iterator[str]:
    for what, elf, expected in (
        ("hardened file", subject.hardened, subject.manifest.output.sha256),
        ("original", subject.original, subject.manifest.input.sha256),
    ):
        if elf.sha256 != expected:
            yield f"the {what} has sha256 {elf.sha256}, the manifest says {expected}"


def _changes(subject: Subject) -> Iterator[str]:
    """Every byte that differs is announced, and every announcement is true and of a kind that hardening needs."""
    before, after = memoryview(subject.original.data), memoryview(subject.hardened.data)
    at = 0
    for change in subject.manifest.changes:
        end = change.offset + len(change.data)
        if change.offset < at or end > len(before):
            yield f"the change at offset {change.offset:#x} overlaps another one, or leaves the original"
            continue
        if before[at : change.offset] != after[at : change.offset]:
            yield f"bytes between offset {at:#x} and {change.offset:#x} differ, but are not announced"
        if before[change.offset : end] != change.data:
            yield f"the original has other bytes at offset {change.offset:#x} than the manifest says"
        if not any(change.offset >= place.start and end <= place.stop for place in _places(subject)):
            yield f"the change at offset {change.offset:#x} ({change.what}) is none that hardening makes"
        at = end
    if before[at:] != after[at : len(before)]:
        yield f"bytes behind offset {at:#x} differ, but are not announced"


def _places(subject: Subject) -> Iterator[range]:
    """File offsets that hardening may change."""
    table = subject.original.segment_table
    yield range(table, table + _SEGMENT_SIZE * len(subject.original.segments))
    yield _SECTION_OFFSET
    yield _SECTION_COUNT
    for patch in subject.manifest.patches:
        for address, length in ((patch.address, patch.length), (patch.stone, _code.JUMP_BYTES)):
            offset = subject.original.offset_of(address) if address is not None else None
            if offset is not None:
                yield range(offset, offset + length)


def _payload_header(subject: Subject) -> Iterator[str]:
    header, payload, constants = subject.header, subject.manifest.payload, subject.image.constants
    if not header or subject.raw("payload_header", "magic", 0) != subject.image.magic:
        yield "the payload does not begin with the magic number"
        return
    text = subject.original.code_segments
    stones = sum(patch.stone is not None for patch in subject.manifest.patches)
    expected = {
        "abi_version": subject.manifest.runtime.abi,
        "header_address": payload.address,
        "state_address": payload.state_address,
        "state_size": payload.state_size,
        "payload_size": payload.size,
        "patch_count": len(subject.manifest.patches) + stones,
        "text_start": min(segment.address for segment in text),
        "text_end": max(segment.end for segment in text),
    }
    for field, value in expected.items():
        if header[field] != value:
            yield f"{field} is {header[field]:#x} instead of {value:#x}"
    if bool(header["flags"] & constants["HEADER_EXECUTABLE"]) != subject.original.is_program:
        yield "the header takes a program for a library, or the reverse"
    if subject.raw("payload_header", "plan_hash", 0).hex() != subject.manifest.plan_sha256:
        yield "the hash of the plan is not the manifest's"
    elif subject.manifest.tool_version == __version__ and not _is_planned(subject.manifest):
        yield "the regions and rules of the manifest are not those of its plan"
    events = subject.manifest.events
    at = header["events_path"]
    found = subject.payload[at:].split(b"\0")[0].decode("utf-8", "replace") if at else None
    if found != events:
        yield f"recoveries go to the file {found!r}, the manifest says {events!r}"


def _is_planned(manifest: Manifest) -> bool:
    """Whether the plan that the manifest tells has the hash that it names; other versions hash other fields."""
    identity = BinaryIdentity(path="", sha256=manifest.input.sha256, build_id=manifest.input.build_id)
    try:
        plan = Plan(binary=identity, regions=manifest.regions, rules=manifest.rules)
    except ValueError:
        return False
    return plan.digest().hex() == manifest.plan_sha256


def _runtime(subject: Subject) -> Iterator[str]:
    """The image in the file, its header's fields taken out again, has the sha256 of the image that was built."""
    header, layout = subject.header, subject.image.structs["payload_header"]
    empty = layout.pack(magic=subject.image.magic, abi_version=header.get("abi_version", 0))
    image = empty + subject.payload[layout.size : header.get("image_size", 0)]
    found = hashlib.sha256(image).hexdigest()
    if found != subject.manifest.runtime.sha256:
        yield f"the runtime in the file has sha256 {found}, the manifest says {subject.manifest.runtime.sha256}"


def _patch_table(subject: Subject) -> Iterator[str]:
    base = subject.manifest.payload.address
    addresses = [record["address"] for record in subject.records]
    if addresses != sorted(set(addresses)):
        yield "the table is not sorted by address"
    regions = {region.address: region for region in subject.manifest.regions}
    if missing := set(regions) - {patch.function for patch in subject.manifest.patches if patch.kind == "region"}:
        yield f"no patch belongs to the region {min(missing):#x}"
    for patch in subject.manifest.patches:
        found = subject.record_at(patch.address)
        if found is None:
            yield f"{patch.function:#x} is not in the table"
            continue
        at, record = found
        expected = {
            "function": patch.function,
            "kind": subject.image.constants[f"PATCH_{patch.kind.upper()}"],
            "length": patch.length,
            "gate": patch.gate - base,
            "displaced": patch.displaced - base,
        }
        if region := regions.get(patch.function):
            kind = region.return_kind.upper()
            expected |= {
                "function_size": region.size,
                "return_value": region.return_value,
                "return_kind": subject.image.constants[f"RETURN_{kind}"],
                "check_address": region.check_address or 0,
            }
        for field, value in expected.items():
            if record[field] != value:
                yield f"{field} of {patch.function:#x} is {record[field]:#x} instead of {value:#x}"
        original = subject.original.read(patch.address, patch.length)
        if subject.raw("patch", "original", at)[: patch.length] != original:
            yield f"the original bytes of {patch.function:#x} are not the original's"


def _each(check: Callable[[Subject, Patch], Iterator[str]]) -> Callable[[Subject], Iterator[str]]:
    """A check of one patch as a check of all."""

    def every(subject: Subject) -> Iterator[str]:
        for patch in subject.manifest.patches:
            for complaint in check(subject, patch):
                yield f"{patch.function:#x}: {complaint}"

    return every


def _entry(subject: Subject, patch: Patch) -> Iterator[str]:
    yield from _code.entry(subject.hardened, patch)


def _gate(subject: Subject, patch: Patch) -> Iterator[str]:
    found = subject.record_at(patch.address)
    if found is not None:
        base = subject.manifest.payload.address
        image = range(base, base + subject.header["image_size"])
        known = subject.image.symbols[f"gate_{patch.kind}"]
        handlers = range(base + known, base + known + 1) if subject.same_runtime else image
        native = subject.image.constants["GATE_NATIVE"]
        yield from _code.gate(subject.hardened, patch, record=base + found[0], handlers=handlers, native=native)


def _displaced(subject: Subject, patch: Patch) -> Iterator[str]:
    found = subject.record_at(patch.address)
    if found is not None:
        boundaries = subject.raw("patch", "boundaries", found[0])
        yield from _code.displaced(subject.original, subject.hardened, patch, boundaries)


_CHECKS: dict[str, Callable[[Subject], Iterator[str]]] = {
    "sha256": _sha256,
    "changes": _changes,
    "program headers": _headers.program_headers,
    "sections": _headers.sections,
    "payload header": _payload_header,
    "runtime image": _runtime,
    "patch table": _patch_table,
    "rules": _rules.rules,
    "entries": _each(_entry),
    "gates": _each(_gate),
    "displaced instructions": _each(_displaced),
    "state": _headers.state,
    "W^X": _headers.writable_code,
}
