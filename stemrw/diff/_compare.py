"""From two files and a manifest to the `Difference` document."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stemrw import __version__
from stemrw.diff import _headers
from stemrw.diff._appended import appended
from stemrw.diff._checks import (
    check_bytes,
    check_manifest,
    check_original,
    check_rebuilt,
    check_structure,
    verdict,
)
from stemrw.diff._code import DISPLACED_BYTES, disassemble, until_jump
from stemrw.diff._ranges import differing, outside
from stemrw.documents.difference import ChangedRange, Difference, FileFacts, PatchedEntry
from stemrw.documents.manifest import Manifest, Patch
from stemrw.elf import Elf
from stemrw.runtime import RuntimeImage, load_image

_GATE_BYTES = 40
_SHOWN_BYTES = 4096
_SHOWN_RANGES = 1000


def compare(
    original: Elf,
    hardened: Elf,
    manifest: Manifest | None,
    *,
    image: RuntimeImage | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Difference:
    """Everything in which the files differ, and whether `manifest` accounts for it.

    Only contents are compared; `path`, `mode`, `owner` and `attributes` of the files are left for the caller to add.
    `step` is told what is being done, for a progress display.
    """
    image = image or load_image()
    step("comparing every byte")
    changes = tuple(_changes(original, hardened, manifest))
    both = memoryview(original.data), memoryview(hardened.data)
    identical = min(map(len, both)) - sum(map(len, differing(*both)))
    facts = _facts(original), _facts(hardened)
    checks = [
        check_manifest(facts[1], manifest),
        check_original(facts[0], manifest),
        check_bytes(original, hardened, changes, identical),
    ]
    if manifest is not None:
        step("checking the structure")
        checks.append(check_structure(original, hardened, manifest, image))
        step("hardening the original again")
        checks.append(check_rebuilt(original, hardened, manifest, image))
    return Difference(
        tool_version=__version__,
        made_by=manifest.tool_version if manifest else None,
        verdict=verdict(checks),
        checks=tuple(checks),
        original=facts[0],
        hardened=facts[1],
        identical=identical,
        regions=manifest.regions if manifest else (),
        rules=manifest.rules if manifest else (),
        changes=changes,
        entries=tuple(_entry(original, hardened, patch) for patch in manifest.patches) if manifest else (),
        headers=tuple(_headers.changes(original, hardened)),
        appended=tuple(appended(original, hardened, manifest, image)),
    )


def _facts(elf: Elf) -> FileFacts:
    return FileFacts(path=None, sha256=elf.sha256, size=len(elf.data), build_id=elf.build_id)


def _changes(original: Elf, hardened: Elf, manifest: Manifest | None) -> Iterator[ChangedRange]:
    """By offset: what the manifest names, where it differs; and what differs beside that."""
    old, new = memoryview(original.data), memoryview(hardened.data)
    named = [(range(c.offset, c.offset + len(c.data)), c) for c in (manifest.changes if manifest else ())]
    found: list[ChangedRange] = []
    for where, change in named:
        there = bytes(old[where.start : where.stop])
        if there != bytes(new[where.start : where.stop]):
            found.append(_change(where, old, new, change.what, change.address, accounted=there == change.data))
    others = outside(differing(old, new), [each for each, _ in named])
    for i, where in enumerate(others):
        if i == _SHOWN_RANGES:  # these are two different files
            where = range(where.start, min(len(old), len(new)))
        found.append(_change(where, old, new, "not named by the manifest", None, accounted=False))
        if i == _SHOWN_RANGES:
            break
    yield from sorted(found, key=lambda each: each.offset)


def _change(
    where: range, old: memoryview, new: memoryview, what: str, address: int | None, *, accounted: bool
) -> ChangedRange:
    shown = slice(where.start, min(where.stop, where.start + _SHOWN_BYTES))
    return ChangedRange(
        offset=where.start,
        size=len(where),
        address=address,
        what=what,
        original=bytes(old[shown]).hex(),
        hardened=bytes(new[shown]).hex(),
        accounted=accounted,
    )


def _entry(original: Elf, hardened: Elf, patch: Patch) -> PatchedEntry:
    """Before and after, from the function's first byte on."""
    size = patch.address + patch.length - patch.function
    gate = disassemble(hardened.code(patch.gate, _GATE_BYTES), patch.gate)
    moved = disassemble(hardened.code(patch.displaced, DISPLACED_BYTES), patch.displaced)
    return PatchedEntry(
        kind=patch.kind,
        name=patch.name,
        function=patch.function,
        before=disassemble(original.code(patch.function, size), patch.function),
        after=disassemble(hardened.code(patch.function, size), patch.function),
        gate=until_jump(gate, patch.displaced) or gate,
        displaced=until_jump(moved, patch.address + patch.length) or moved[:1],
    )
