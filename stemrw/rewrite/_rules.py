"""The rules of a plan as the records that the runtime reads (runtime/include/rules.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from stemrw.documents.plan import Plan
from stemrw.documents.rules import AnyRule, GuardSite, Slice, SliceExit, Stack
from stemrw.elf import Elf
from stemrw.errors import DocumentError
from stemrw.rewrite._entry import ENDBR64
from stemrw.rewrite._predicate import compile_predicate, records
from stemrw.runtime import RuntimeImage


def check_rules(elf: Elf, plan: Plan) -> None:
    """Raises DocumentError: a rule is about code that the file does not have."""
    segments = elf.code_segments
    first, end = min((s.address for s in segments), default=0), max((s.end for s in segments), default=0)
    for rule in (*plan.rules, *(rule for region in plan.regions for rule in region.rules)):
        for address in _places(rule):
            if not first <= address <= end or (address == end and address != rule.end):
                raise DocumentError(
                    f"the rule `{rule.kind}` is about an address outside of the code, {first:#x} to {end:#x}",
                    address=address,
                    hint="the manifest was changed, or is that of another file: begin with the original",
                )


def _places(rule: AnyRule) -> Iterator[int]:
    yield from (place for place in (rule.address, rule.end) if place is not None)
    if isinstance(rule, GuardSite):
        yield from rule.outer
    if isinstance(rule, Slice):
        yield rule.resume
    if isinstance(rule, SliceExit):
        yield rule.slice


def rule_records(plan: Plan, number: dict[int, int], image: RuntimeImage, targets: tuple[int, int]) -> list[bytes]:
    """Every struct rule; `number` is the index in the table of patches by address of the patched place."""
    record, module = image.structs["rule"], image.constants["RULE_MODULE"] & 0xFFFF_FFFF
    owned: list[tuple[int, AnyRule]] = [(module, rule) for rule in plan.rules]
    for region in plan.regions:
        owner = next(number[place] for place in (region.address, region.address + len(ENDBR64)) if place in number)
        owned += [(owner, rule) for rule in region.rules]
    found = []
    for owner, rule in owned:
        kind = image.constants[f"RULE_{rule.kind.upper().replace('-', '_')}"]
        for each in words(rule, image, targets):
            value = struct.pack(f"<{len(each)}Q", *each)
            packed = record.pack(kind=kind, patch=owner, address=rule.address or 0, end=rule.end or 0, value=value)
            found.append(((owner, kind, rule.address or 0), packed))
    return [packed for _, packed in sorted(found, key=lambda entry: entry[0])]


def words(rule: AnyRule, image: RuntimeImage, targets: tuple[int, int] = (0, 0)) -> list[tuple[int, ...]]:
    """The words of each record that a rule becomes; `targets` are the place and the length of the table of `stack`."""
    if rule.kind == "predicate":
        return records(compile_predicate(rule.require, image), image)
    return [targets if isinstance(rule, Stack) else rule.values()]
