"""The table of rules in the payload: what the manifest asks of the runtime, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from stemrw.documents.rules import RULES, AnyRule, Predicate, Stack
from stemrw.verify._subject import Subject

_KINDS: tuple[str, ...] = tuple(rule.model_fields["kind"].default for rule in RULES)
_OWN_VALUES = ("predicate", "stack")
"""Kinds whose words are made of the file, or are a program: `stemrw diff` compares these."""


@dataclass(frozen=True)
class _Record:
    """What is compared of a struct rule; `value` None: not compared, since it follows from the file."""

    owner: int
    kind: int
    address: int
    end: int
    value: int | None


def rules(subject: Subject) -> Iterator[str]:
    """Every rule of the manifest is there once, sorted as the runtime looks them up, and no other."""
    table, count = subject.header.get("rule_table", 0), subject.header.get("rule_count", 0)
    size = subject.image.structs["rule"].size
    if table + size * count > len(subject.payload):
        yield f"the table of {count} rules leaves the payload"
        return
    found = [subject.unpack("rule", table + size * i) for i in range(count)]
    keys = [(rule["patch"], rule["kind"], rule["address"]) for rule in found]
    if keys != sorted(keys):
        yield "the rules are not sorted by patch, kind and address"
    by_number = {subject.image.constants[f"RULE_{_constant(kind)}"]: kind for kind in _KINDS}
    known = Counter(_record(subject, owner, rule) for owner, rule in _asked(subject))
    for rule in found:
        kind = by_number.get(rule["kind"])
        value = None if kind in _OWN_VALUES else rule["value"]
        record = _Record(rule["patch"], rule["kind"], rule["address"], rule["end"], value)
        if record in known:
            known[record] -= kind != "predicate"  # of which each 32 bytes are a record
        else:
            yield f"there is a rule of kind {kind or rule['kind']} that the manifest does not tell of, in this form"
    written = {(rule["patch"], rule["kind"], rule["address"]) for rule in found}
    for record, times in known.items():
        of_predicate = by_number[record.kind] == "predicate"
        if (times and not of_predicate) or (record.owner, record.kind, record.address) not in written:
            yield f"the rule `{by_number[record.kind]}` of the manifest is not in the table"


def _constant(kind: str) -> str:
    return kind.upper().replace("-", "_")


def _asked(subject: Subject) -> Iterator[tuple[int, AnyRule]]:
    """Each rule of the manifest with the index of its region's patch, or that of the module."""
    for rule in subject.manifest.rules:
        yield subject.image.constants["RULE_MODULE"] & 0xFFFF_FFFF, rule
    index = {record["address"]: i for i, record in enumerate(subject.records)}
    places = {patch.function: patch.address for patch in subject.manifest.patches if patch.kind == "region"}
    for region in subject.manifest.regions:
        for rule in region.rules:
            yield index.get(places.get(region.address, 0), -1), rule


def _record(subject: Subject, owner: int, rule: AnyRule) -> _Record:
    kind = subject.image.constants[f"RULE_{_constant(rule.kind)}"]
    own = isinstance(rule, Predicate | Stack)
    value = None if own else sum(word << 64 * i for i, word in enumerate(rule.values()))
    return _Record(owner, kind, rule.address or 0, rule.end or 0, value)
