"""From the original bytes and a plan to the hardened bytes and their manifest."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

from stemrw import __version__
from stemrw.documents.manifest import Change, FileIdentity, Manifest, Patch, Payload, RuntimeIdentity
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.documents.rules import Budget, Stack
from stemrw.elf import Elf, Segment, align
from stemrw.elf.constants import PT_LOAD, PT_NOTE, PT_NULL, PT_PHDR
from stemrw.errors import BinaryError, DocumentError
from stemrw.rewrite import _layout, _mechanism
from stemrw.rewrite._displace import NO_BOUNDARY, Displaced, displace
from stemrw.rewrite._edited import Edited
from stemrw.rewrite._entry import Entry, Stone, Target, find_entries
from stemrw.rewrite._gate import GATE_SIZE, make_gate
from stemrw.rewrite._rules import check_rules, rule_records, words
from stemrw.rewrite._targets import never_taken
from stemrw.runtime import RuntimeImage, load_image

_SHOFF, _SHNUM = 0x28, 0x3C  # of e_shoff and e_shnum in the file header
_MAX_PATCHED = 24
_DISPLACED_ALIGN = 16
_EVENTS_PATH_MAX = 4095


@dataclass(frozen=True)
class Rewritten:
    """The hardened file's content, and what was done."""

    content: Edited
    manifest: Manifest

    @property
    def data(self) -> bytes:
        """The hardened file's bytes, put together."""
        return bytes(self.content)


@dataclass(frozen=True)
class _Site:
    """One entry that is patched, and why in the runtime's terms."""

    kind: str
    name: str | None
    entry: Entry
    region: PlannedRegion | None = None


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
    sites, unobserved = _sites(elf, plan)
    targets = never_taken(elf) if any(isinstance(rule, Stack) for rule in plan.rules) else b""
    size = _payload_size(plan, sites, image, targets, events_path)
    layout = _layout.place(elf, image.state_size(len(_places(sites))), size)
    payload, patches = _payload(elf, plan, sites, layout, image, targets, events_path)
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


def _sites(elf: Elf, plan: Plan) -> tuple[list[_Site], list[str]]:
    """Every entry to patch by ascending address, and the names of what stays unobserved.

    A library's first initialiser and last finaliser are left out where no jump fits in: the first region entry makes up
    for the one; without the other the library must not be unloaded.
    """
    wanted: dict[int, tuple[str, Target, PlannedRegion | None]] = {
        region.address: ("region", Target(region.address, region.size, region.symbol), region)
        for region in plan.regions
    }
    observed, unobserved = _mechanism.observed(elf)
    for kind, place in (("start", _mechanism.start(elf)), ("stop", _mechanism.stop(elf))):
        if place is not None:
            wanted.setdefault(place.address, (kind, place, None))
    for target in observed:
        wanted.setdefault(target.address, (_mechanism.kind_of(target), target, None))
    while True:
        try:
            entries = find_entries(elf, [target for _, target, _ in wanted.values()])
            break
        except BinaryError as error:
            unfit = wanted.pop(error.address or 0, None)
            if elf.is_program or unfit is None or unfit[0] not in ("start", "stop"):
                raise
            unobserved.append(unfit[1].name or unfit[0])
    sites = [
        _Site(kind, target.name, entry, region)
        for (kind, target, region), entry in zip(wanted.values(), entries, strict=True)
    ]
    return sorted(sites, key=lambda site: site.entry.address), unobserved


def _places(sites: list[_Site]) -> list[tuple[int, _Site]]:
    """Address and site of every replaced place, entries and stones, by address: the order of the runtime's table."""
    entries = [(site.entry.address, site) for site in sites]
    stones = [(site.entry.stone.address, site) for site in sites if site.entry.stone is not None]
    return sorted(entries + stones, key=lambda place: place[0])


def _payload_size(plan: Plan, sites: list[_Site], image: RuntimeImage, targets: bytes, events_path: str | None) -> int:
    """Bytes of the payload: those of the moved instructions do not depend on where they go."""
    size = align(len(image.data), 64) + image.structs["patch"].size * len(_places(sites)) + GATE_SIZE * len(sites)
    for site in sites:
        moved = displace(site.entry.instructions, site.entry.original, site.entry.end)
        size += align(len(moved.code), _DISPLACED_ALIGN)
    rules = sum(
        len(words(rule, image)) for rule in (*plan.rules, *(r for region in plan.regions for r in region.rules))
    )
    return size + rules * image.structs["rule"].size + align(len(targets), 8) + len(_path(events_path))


def _payload(
    elf: Elf,
    plan: Plan,
    sites: list[_Site],
    layout: _layout.Layout,
    image: RuntimeImage,
    targets: bytes,
    events_path: str | None,
) -> tuple[bytes, list[Patch]]:
    """The payload's bytes, laid out as runtime/include/abi.h says, and what each patch leads to."""
    base = layout.payload_address
    record = image.structs["patch"]
    table = align(len(image.data), 64)
    places = _places(sites)
    number = {address: i for i, (address, _) in enumerate(places)}
    gates = table + record.size * len(places)
    code = bytearray()
    records: dict[int, bytes] = {}
    patches: list[Patch] = []
    displaced_at = gates + GATE_SIZE * len(sites)
    displaced_code = bytearray()
    for i, site in enumerate(sites):
        entry = site.entry
        gate, at = gates + GATE_SIZE * i, displaced_at + len(displaced_code)
        handler = image.symbols[f"gate_{site.kind}"]
        native = image.constants["GATE_NATIVE"]
        code += make_gate(base + gate, base + table + record.size * number[entry.address], base + handler, base + at,
                          native)  # fmt: skip
        displaced = displace(entry.instructions, entry.original, base + at)
        records[entry.address] = _record(site, displaced, gate, at, image)
        if entry.stone is not None:
            records[entry.stone.address] = _stone_record(entry, entry.stone, gate, at, image)
        displaced_code += displaced.code.ljust(align(len(displaced.code), _DISPLACED_ALIGN), b"\xcc")
        patches.append(
            Patch(
                kind=site.kind,
                name=site.name,
                function=entry.function,
                address=entry.address,
                length=len(entry.original),
                gate=base + gate,
                displaced=base + at,
                stone=entry.stone.address if entry.stone is not None else None,
            )
        )
    payload = image.data.ljust(table, b"\xcc") + b"".join(records[address] for address, _ in places)
    payload += code + displaced_code
    rules = rule_records(plan, number, image, (len(payload), len(targets) // 4))
    payload += targets.ljust(align(len(targets), 8), b"\0")
    rules_at = len(payload)
    payload += b"".join(rules)
    events_at = len(payload) if events_path is not None else 0
    payload += _path(events_path)
    text = elf.code_segments
    header = image.structs["payload_header"].pack(
        magic=image.magic,
        abi_version=image.constants["ABI_VERSION"],
        flags=_flags(elf, plan, image),
        header_address=base,
        state_address=layout.state_address,
        state_size=layout.state_size,
        payload_size=len(payload),
        image_size=len(image.data),
        patch_count=len(places),
        patch_table=table,
        events_path=events_at,
        rule_table=rules_at,
        rule_count=len(rules),
        text_start=min(load.address for load in text),
        text_end=max(load.end for load in text),
        plan_hash=plan.digest(),
    )
    return header + payload[len(header) :], patches


def _record(site: _Site, displaced: Displaced, gate: int, displaced_at: int, image: RuntimeImage) -> bytes:
    """One struct patch."""
    entry, region = site.entry, site.region
    if len(entry.original) > _MAX_PATCHED:
        raise BinaryError(f"{len(entry.original)} bytes would have to be replaced", address=entry.function)
    size = image.structs["patch"].fields["boundaries"][1]
    values: dict[str, int | bytes] = {
        "address": entry.address,
        "function": entry.function,
        "function_size": entry.size,
        "kind": image.constants[f"PATCH_{site.kind.upper()}"],
        "gate": gate,
        "displaced": displaced_at,
        "length": len(entry.original),
        "original": entry.original,
        "boundaries": displaced.boundaries.ljust(size, bytes([NO_BOUNDARY])),
    }
    if region is not None:
        values["return_value"] = region.return_value
        values["return_kind"] = image.constants[f"RETURN_{region.return_kind.upper()}"]
        values["check_address"] = region.check_address or 0
        if region.check_class is not None:
            values["check_class"] = image.fault_class(region.check_class)
    return image.structs["patch"].pack(**values)


def _stone_record(entry: Entry, stone: Stone, gate: int, displaced_at: int, image: RuntimeImage) -> bytes:
    """The struct patch of a stone: it tells the original bytes."""
    return image.structs["patch"].pack(
        address=stone.address,
        function=entry.function,
        kind=image.constants["PATCH_STONE"],
        gate=gate,
        displaced=displaced_at,
        length=len(stone.original),
        original=stone.original,
        boundaries=bytes([NO_BOUNDARY]) * image.structs["patch"].fields["boundaries"][1],
    )


def _flags(elf: Elf, plan: Plan, image: RuntimeImage) -> int:
    flags = image.constants["HEADER_EXECUTABLE"] if elf.is_program else 0
    if any(isinstance(rule, Budget) for region in plan.regions for rule in region.rules):
        flags |= image.constants["HEADER_COUNTS"]
    return flags | (image.constants["HEADER_GLIBC"] if _mechanism.uses_glibc(elf) else 0)


def _path(events_path: str | None) -> bytes:
    if events_path is None:
        return b""
    try:
        encoded = events_path.encode()
    except UnicodeEncodeError:
        raise BinaryError("the events path is not UTF-8", hint="the manifest has to name it") from None
    if not encoded or b"\0" in encoded or len(encoded) > _EVENTS_PATH_MAX:
        raise BinaryError(f"the events path is empty, holds a NUL or is longer than {_EVENTS_PATH_MAX} bytes")
    return encoded + b"\0"


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
