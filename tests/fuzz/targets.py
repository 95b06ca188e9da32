"""What is fuzzed in Python: bytes in, and either a result that holds or one of our own errors."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from stemrw.documents.fault_report import FaultReport, load_report
from stemrw.documents.localization import BinaryIdentity
from stemrw.documents.manifest import Manifest, load_manifest
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.elf import Elf, RelativePointers, dynamic_symbols, relocations
from stemrw.errors import BinaryError, DocumentError, StemrwError, UsageError
from stemrw.image import Function, Image, unwind_table
from stemrw.rewrite import Target, revert, rewrite, survey
from stemrw.sense.importers import import_report

MAX_BYTES = {"elf": 1 << 14, "documents": 1 << 13, "imports": 1 << 13}
_ASKED = 3
"""Functions of one file that are looked at."""


def elf(data: bytes) -> None:
    """The reader, the view of functions, the rewriter and back.  Raises what is a bug."""
    try:
        file = Elf(data)
    except BinaryError as error:
        _is_sentence(error)
        return
    _tables(file)
    image = Image(file)
    starts = unwind_table(file).starts
    functions = {}
    for place in dict.fromkeys((file.entry, *starts[:_ASKED], *starts[-1:])):
        owner = image.owner(place)
        if owner is not None:
            functions[owner.function.entry] = owner.function
    for function in functions.values():
        assert function.size >= 0 and function.entry >= 0
        image.may_return(function)
        for site, _ in islice(image.callers(function), _ASKED):
            image.called_name(site)
    try:
        _harden(file, list(functions.values()))
    except StemrwError as error:
        _is_sentence(error)


def _tables(file: Elf) -> None:
    assert all(isinstance(section.name, str) for section in file.sections)
    assert file.build_id is None or bytes.fromhex(file.build_id)
    for relocation in list(relocations(file))[:100]:
        file.word(relocation.place)
    symbols = dynamic_symbols(file)
    for index in range(min(len(symbols), 20)):
        assert isinstance(symbols[index].name, str)
    pointers = RelativePointers(file)
    pointers.holds(file.entry)
    pointers.at(file.entry)


def _harden(file: Elf, functions: list[Function]) -> None:
    """Every function that can be a region, together; and what comes of it is undone again."""
    original = bytes(file.data)
    offered = survey(file, [Target(function.entry, function.size, None) for function in functions])
    regions = [
        PlannedRegion(address=function.entry, size=function.size)
        for function, refusal in zip(functions, offered, strict=True)
        if refusal is None
    ]
    if not regions:
        return
    identity = BinaryIdentity(path="fuzzed", sha256=hashlib.sha256(original).hexdigest())
    done = rewrite(file, Plan(binary=identity, regions=tuple(regions)))
    hardened = bytes(done.content)
    assert bytes(revert(hardened, Manifest.model_validate_json(done.manifest.to_json()))) == original
    assert len(Elf(hardened).loads) == len(file.loads) + 1


def documents(data: bytes) -> None:
    """Reading reports and manifests, and writing what was read.  Raises what is a bug."""
    path = _scratch()
    path.write_bytes(data)
    for load in (load_report, load_manifest):
        try:
            document: FaultReport | Manifest = load(path)
        except DocumentError as error:
            _is_sentence(error)
            continue
        text = document.to_json()
        path.write_text(text)
        assert load(path) == document, text
        json.loads(text)
        if isinstance(document, Manifest) and document.regions:
            _plans(document)


def _plans(manifest: Manifest) -> None:
    """What a manifest says can be planned again, and every rule be written as words of 64 bits."""
    identity = BinaryIdentity(path="fuzzed", sha256=manifest.input.sha256, build_id=manifest.input.build_id)
    plan = Plan(binary=identity, regions=manifest.regions, rules=manifest.rules)
    assert len(plan.digest()) == 32
    for rule in (*plan.rules, *(rule for region in plan.regions for rule in region.rules)):
        words = (rule.address or 0, rule.end or 0, *rule.values())
        assert len(rule.values()) <= 5 and all(0 <= word < 1 << 64 for word in words), rule


def imports(data: bytes) -> None:
    """What other tools say: a report that can be written and read, or a refusal.  Raises what is a bug."""
    path = _scratch()
    path.write_bytes(data)
    try:
        done = import_report(path)
    except (DocumentError, UsageError) as error:
        _is_sentence(error)
        return
    text = done.report.to_json()
    path.write_text(text)
    assert load_report(path) == done.report, text
    assert done.report.backtrace and done.chosen.isprintable()


def _is_sentence(error: StemrwError) -> None:
    text = str(error)
    assert text.isprintable() and len(text) < 2000, text


@cache
def _scratch() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="stemrw-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    os.close(descriptor)
    return Path(name)


TARGETS: dict[str, Any] = {"elf": elf, "documents": documents, "imports": imports}
