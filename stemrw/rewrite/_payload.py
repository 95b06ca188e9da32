"""The payload: runtime image, tables, gates and moved instructions, as runtime/include/abi.h lays them out."""

from __future__ import annotations

from stemrw.documents.manifest import Patch
from stemrw.documents.plan import Plan
from stemrw.documents.rules import Budget
from stemrw.elf import Elf, align
from stemrw.errors import BinaryError
from stemrw.rewrite import _layout, _mechanism
from stemrw.rewrite._displace import NO_BOUNDARY, Displaced, displace
from stemrw.rewrite._entry import Entry, Stone
from stemrw.rewrite._gate import GATE_SIZE, make_gate
from stemrw.rewrite._rules import rule_records, words
from stemrw.rewrite._sites import Site, places_of
from stemrw.runtime import RuntimeImage

_MAX_PATCHED = 24
_DISPLACED_ALIGN = 16
_EVENTS_PATH_MAX = 4095


def payload_size(plan: Plan, sites: list[Site], image: RuntimeImage, targets: bytes, events_path: str | None) -> int:
    """Bytes of the payload: those of the moved instructions do not depend on where they go."""
    size = align(len(image.data), 64) + image.structs["patch"].size * len(places_of(sites)) + GATE_SIZE * len(sites)
    for site in sites:
        moved = displace(site.entry.instructions, site.entry.original, site.entry.end)
        size += align(len(moved.code), _DISPLACED_ALIGN)
    rules = sum(
        len(words(rule, image)) for rule in (*plan.rules, *(r for region in plan.regions for r in region.rules))
    )
    return size + rules * image.structs["rule"].size + align(len(targets), 8) + len(_path(events_path))


def make_payload(
    elf: Elf,
    plan: Plan,
    sites: list[Site],
    layout: _layout.Layout,
    image: RuntimeImage,
    targets: bytes,
    events_path: str | None,
) -> tuple[bytes, list[Patch]]:
    """The payload's bytes, laid out as runtime/include/abi.h says, and what each patch leads to."""
    base = layout.payload_address
    record = image.structs["patch"]
    table = align(len(image.data), 64)
    places = places_of(sites)
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


def _record(site: Site, displaced: Displaced, gate: int, displaced_at: int, image: RuntimeImage) -> bytes:
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
        values["flags"] = image.constants["REGION_OF_MAIN"] if region.is_main else 0
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
