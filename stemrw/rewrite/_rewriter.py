"""From the original bytes and a plan to the hardened bytes and their manifest."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

from stemrw import __version__
from stemrw.documents.manifest import Change, FileIdentity, Manifest, Payload, RuntimeIdentity
from stemrw.documents.plan import Plan
from stemrw.documents.rules import Stack
from stemrw.elf import Elf, Segment
from stemrw.elf.constants import PT_LOAD, PT_NOTE, PT_NULL, PT_PHDR
from stemrw.errors import BinaryError, DocumentError
from stemrw.rewrite import _layout
from stemrw.rewrite._edited import Edited
from stemrw.rewrite._entry import Entry
from stemrw.rewrite._payload import make_payload, payload_size
from stemrw.rewrite._rules import check_rules
from stemrw.rewrite._sites import find_sites, places_of
from stemrw.rewrite._targets import never_taken
from stemrw.runtime import RuntimeImage, load_image

_SHOFF, _SHNUM = 0x28, 0x3C  # of e_shoff and e_shnum in the file header


@dataclass(frozen=True)
class Rewritten:
    """The hardened file's content, and what was done."""

    content: Edited
    manifest: Manifest

    @property
    def data(self) -> bytes:
        """The hardened file's bytes, put together."""
        return bytes(self.content)


def rewrite(
    original: Elf | bytes, plan: Plan, *, events_path: str | None = None, image: RuntimeImage | None = None
) -> Rewritten:
    """Harden a file as `plan` says: same input, same plan, same bytes.

    `events_path` is the file to which the runtime appends one JSON line per recovery, if no other is named at run time.
    `image` is the runtime to inject; the built one by default.

    Raises BinaryError (the file cannot be hardened, or a region's entry cannot be patched) and DocumentError (the plan
    is about another file, or one of its rules about code that is not there).
    """
    image = image or load_image()
    elf = original if isinstance(original, Elf) else Elf(original)
    identity = identify(elf)
    _check_suitable(elf, identity, plan, image)
    sites, unobserved = find_sites(elf, plan)
    targets = never_taken(elf) if any(isinstance(rule, Stack) for rule in plan.rules) else b""
    size = payload_size(plan, sites, image, targets, events_path)
    layout = _layout.place(elf, image.state_size(len(places_of(sites))), size)
    payload, patches = make_payload(elf, plan, sites, layout, image, targets, events_path)
    content, changes = _apply(elf, layout, payload, [(s.entry, p.gate) for s, p in zip(sites, patches, strict=True)])
    manifest = Manifest(
        tool_version=__version__,
        runtime=RuntimeIdentity(version=image.version, abi=image.constants["ABI_VERSION"], sha256=image.sha256),
        plan_sha256=plan.digest().hex(),
        input=identity,
        output=FileIdentity(sha256=content.sha256, build_id=identity.build_id, size=len(content)),
        payload=Payload(
            address=layout.payload_address,
            offset=layout.payload_offset,
            size=len(payload),
            state_address=layout.state_address,
            state_size=layout.state_size,
        ),
        regions=plan.regions,
        rules=plan.rules,
        patches=tuple(patches),
        unobserved=tuple(unobserved),
        events=events_path,
        changes=tuple(changes),
    )
    return Rewritten(content, manifest)


def identify(elf: Elf) -> FileIdentity:
    """sha256, build-id and size of a file's content."""
    return FileIdentity(sha256=elf.sha256, build_id=elf.build_id, size=len(elf.data))


def find_payload(elf: Elf, magic: bytes | None = None) -> int | None:
    """File offset of the payload of a hardened file; None if the file is not hardened."""
    magic = magic or load_image().magic
    for segment in elf.code_segments:
        if elf.data[segment.offset : segment.offset + len(magic)] == magic:
            return segment.offset
    return None


def _check_suitable(elf: Elf, identity: FileIdentity, plan: Plan, image: RuntimeImage) -> None:
    if find_payload(elf, image.magic) is not None:
        raise BinaryError("this file is already hardened", hint="its manifest is needed to harden it again")
    if plan.binary.sha256 != identity.sha256:
        raise DocumentError(
            f"the plan is about a file with sha256 {plan.binary.sha256}, this one has {identity.sha256}"
        )
    if elf.section(".gopclntab") or elf.section(".note.go.buildid"):
        raise BinaryError("this is a Go program: its own runtime moves stacks and inspects code addresses")
    check_rules(elf, plan)


def _apply(
    elf: Elf, layout: _layout.Layout, payload: bytes, gates: list[tuple[Entry, int]]
) -> tuple[Edited, list[Change]]:
    """The hardened file's content, and the ranges of the original that differ in it."""
    edits: list[tuple[int, bytes]] = []
    changes: list[Change] = []

    def put(offset: int, new: bytes, what: str, address: int | None = None) -> None:
        old = elf.data[offset : offset + len(new)]
        if old != new:
            changes.append(Change(offset=offset, original=old.hex(), what=what, address=address))
            edits.append((offset, new))

    headers = _layout.segment_table(elf, layout, len(payload))
    _check_headers(elf, Segment.unpack(headers), layout)
    put(elf.segment_table, headers, "program headers")
    for entry, gate in gates:
        for address, new in entry.edits(gate):
            offset = elf.offset_of(address)
            assert offset is not None  # it was decoded from there
            put(offset, new, "function entry" if address == entry.address else "padding", address)
    tail = bytes(layout.payload_offset - len(elf.data)) + payload
    sections = _layout.section_tail(elf, layout, len(payload), len(elf.data) + len(tail))
    if sections is not None:
        headers, table, count = sections
        tail += headers
        put(_SHOFF, struct.pack("<Q", table), "offset of the section headers")
        put(_SHNUM, struct.pack("<H", count), "number of sections")
    edits.sort()
    _check_disjoint(edits, len(elf.data))
    changes.sort(key=lambda change: change.offset)
    return Edited(elf.data, len(elf.data), tuple(edits), tail), changes


def _check_headers(before: Elf, after: list[Segment], layout: _layout.Layout) -> None:
    """What must hold whatever went before: every original address lies where it lay, the payload in none of them."""
    kept = [(load.address, load.offset, load.file_size, load.flags) for load in before.loads]
    loads = [load for load in after if load.kind == PT_LOAD]
    now = [(load.address, load.offset, load.file_size, load.flags) for load in loads]
    others = [s for s in before.segments if s.kind not in (PT_NULL, PT_LOAD, PT_NOTE, PT_PHDR)]
    ours = [load for load in loads if load.address == layout.payload_address]
    if [load for load in now if load[0] != layout.payload_address] != kept or len(ours) != 1:
        raise BinaryError("the rewritten headers do not describe the original", hint="this is a bug of stemrw")
    if any(s not in after for s in others) or any(a.end > b.address for a, b in pairwise(loads)):
        raise BinaryError("the rewritten headers lack one, or overlap", hint="this is a bug of stemrw")


def _check_disjoint(edits: list[tuple[int, bytes]], size: int) -> None:
    """A damaged file can have its headers where its code is."""
    ends = [0, *(offset + len(new) for offset, new in edits)]
    for (offset, _), end in zip([*edits, (size, b"")], ends, strict=True):
        if offset < end:
            raise BinaryError(f"two of the places to change overlap, at file offset {offset:#x}", hint="is it damaged?")
