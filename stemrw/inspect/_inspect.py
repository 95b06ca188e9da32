"""From one file to its `Inspection`.

Whether a function can be patched is asked of the rewriter's own search for entries, and whether the file can be by
hardening it in memory: so the answer is what `patch` would say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from stemrw import __version__
from stemrw.documents.inspection import (
    FunctionSummary,
    Hardened,
    InspectedFunction,
    Inspection,
    Obstacle,
    Reason,
)
from stemrw.documents.localization import BinaryIdentity
from stemrw.documents.manifest import FileIdentity, Manifest
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.elf import Elf
from stemrw.elf.constants import SHF_EXECINSTR, SHT_NOBITS
from stemrw.errors import BinaryError
from stemrw.image import Function, Image, debug_file
from stemrw.inspect._build import build
from stemrw.inspect._file import FileFacts
from stemrw.inspect._obstacles import obstacle, obstacles
from stemrw.rewrite import Target, find_payload, rewrite, survey
from stemrw.runtime import RuntimeImage, load_image

_SEVERITIES = ("blocks", "degrades", "note")
_TRIALS = 3
_PREFIX = re.compile(r"no jump to the runtime fits in at the entry of .*?: (?=it |the |there |another |a |`)")
_SIZE = re.compile(r"\b[0-9]+ bytes?\b")
_PARTICULAR = re.compile(r"`[^`]*`|0x[0-9a-f]+|\b[0-9]+\b")
Step = Callable[[str, int, int], None]


def inspect(
    elf: Elf,
    *,
    original: Elf | None = None,
    manifest: Manifest | None = None,
    facts: FileFacts | None = None,
    listing: bool = False,
    image: RuntimeImage | None = None,
    step: Step = lambda *_: None,
) -> Inspection:
    """Look at a file.  For one that is hardened already, `original` and `manifest` are what it was made from.

    `facts` are what the file system says of it. With `listing` all functions are in the document. `step` is told what
    is done, how much of it is done and how much there is, for a progress display.
    """
    runtime = image or load_image()
    view = Image(original or elf)
    step("reading functions", 0, 0)
    functions = list(view.functions())
    whole = [function for function in functions if not function.fragment]
    targets = [Target(function.entry, function.size, function.symbol) for function in whole]
    refusals = list(survey(view.elf, targets, lambda done: step("looking at entries", done, len(targets))))
    built = build(view.elf, debug_file=debug_file(view.build_id) is not None)
    step("hardening it in memory", 0, 0)
    patchable = [function for function, refusal in zip(whole, refusals, strict=True) if refusal is None]
    found = [*_refused(view, patchable, runtime), *obstacles(view, built, facts or FileFacts())]
    return Inspection(
        tool_version=__version__,
        path=str(elf.path or ""),
        file=FileIdentity(sha256=elf.sha256, build_id=elf.build_id, size=len(elf.data)),
        patchable=not any(each.severity == "blocks" for each in found),
        build=built,
        hardened=_hardened(elf, manifest, runtime),
        functions=_summary(view, functions, whole, refusals),
        obstacles=tuple(sorted(found, key=lambda each: _SEVERITIES.index(each.severity))),
        listing=tuple(_listed(functions, whole, refusals)) if listing else None,
    )


def _refused(view: Image, patchable: Sequence[Function], runtime: RuntimeImage) -> Iterator[Obstacle]:
    """Why the rewriter refuses the file, if it does, and which calls it cannot observe if it does not.

    It is asked to harden one function; another one where that stands too near to a place that is patched anyway.
    """
    if not patchable:
        yield obstacle("no-function")
    refusal: BinaryError | None = None
    for function in _candidates(view, patchable):
        region = PlannedRegion(address=function.entry, size=function.size)
        identity = BinaryIdentity(path=str(view.path), sha256=view.sha256, build_id=view.build_id)
        try:
            unobserved = rewrite(view.elf, Plan(binary=identity, regions=(region,)), image=runtime).manifest.unobserved
        except BinaryError as error:
            refusal = error
            continue
        for code, names in (
            ("calls-unobserved", [name for name in unobserved if not name.startswith("DT_")]),
            ("no-room-at-ends", [name for name in unobserved if name.startswith("DT_")]),
        ):
            if names:
                yield obstacle(code, ", ".join(names))
        return
    if refusal is not None:
        where = f", at {refusal.address:#x}" if refusal.address is not None else ""
        yield obstacle("refused", refusal.message + where, refusal.hint or "there is no way around that yet")


def _candidates(view: Image, patchable: Sequence[Function]) -> Iterator[Function]:
    main = view.main
    if main is not None and any(function.entry == main.entry for function in patchable):
        yield main
    yield from sorted(patchable, key=lambda function: -function.size)[:_TRIALS]


def _summary(
    view: Image, functions: Sequence[Function], whole: Sequence[Function], refusals: Sequence[BinaryError | None]
) -> FunctionSummary:
    names = (view.name_source(function) for function in functions)
    return FunctionSummary(
        total=len(whole),
        patchable=sum(refusal is None for refusal in refusals),
        parts=len(functions) - len(whole),
        found=dict(Counter(function.source for function in functions).most_common()),
        named=dict(Counter(name for name in names if name is not None).most_common()),
        code_bytes=sum(len(each) for each in _executable(view.elf)),
        covered_bytes=_covered(view.elf, functions),
        refused=tuple(_reasons(whole, refusals)),
    )


def _executable(elf: Elf) -> list[range]:
    """Addresses of the executable sections; of the segments where there are no sections."""
    sections = [
        range(section.address, section.address + section.size)
        for section in elf.sections
        if section.flags & SHF_EXECINSTR and section.kind != SHT_NOBITS and section.size
    ]
    segments = [range(load.address, load.address + load.file_size) for load in elf.code_segments]
    return sorted(sections or segments, key=lambda each: each.start)


def _covered(elf: Elf, functions: Sequence[Function]) -> int:
    """Bytes of the executable sections that lie in a function; each counted once."""
    total = at = 0
    executable = _executable(elf)
    current = range(0)
    for function in functions:
        start, at = max(function.entry, at), max(function.end, at)
        if current.start <= start and at <= current.stop:
            total += at - start
        else:
            total += sum(max(min(at, each.stop) - max(start, each.start), 0) for each in executable)
            current = next((each for each in executable if start in each), current)
    return total


def _reasons(whole: Sequence[Function], refusals: Sequence[BinaryError | None]) -> Iterator[Reason]:
    """The refusals, those that differ only in addresses, numbers and instructions together."""
    examples: dict[str, int] = {}
    texts: dict[str, Counter[str]] = {}
    for function, refusal in zip(whole, refusals, strict=True):
        if refusal is not None:
            text = _PREFIX.sub("", refusal.message, count=1)
            common = _PARTICULAR.sub("…", _SIZE.sub("… bytes", text))
            texts.setdefault(common, Counter())[text] += 1
            examples.setdefault(common, function.entry)
    for common, found in sorted(texts.items(), key=lambda each: -each[1].total()):
        text = common if len(found) > 1 else next(iter(found))
        yield Reason(text=text, count=found.total(), example=examples[common])


def _listed(
    functions: Sequence[Function], whole: Sequence[Function], refusals: Sequence[BinaryError | None]
) -> Iterator[InspectedFunction]:
    refused = {function.entry: refusal for function, refusal in zip(whole, refusals, strict=True)}
    for function in functions:
        refusal = refused.get(function.entry)
        yield InspectedFunction(
            address=function.entry,
            size=function.size,
            name=function.symbol,
            source=function.source,
            part_of_another=function.fragment,
            refusal=refusal.message if refusal is not None else None,
        )


def _hardened(elf: Elf, manifest: Manifest | None, runtime: RuntimeImage) -> Hardened | None:
    """What the payload says, and the manifest where it is there."""
    offset = find_payload(elf, runtime.magic)
    if offset is None:
        return None
    header = runtime.structs["payload_header"]
    raw = bytes(elf.data[offset : offset + header.size]).ljust(header.size, b"\0")
    fields = header.unpack(raw)
    return Hardened(
        tool_version=manifest.tool_version if manifest else None,
        runtime_abi=int.from_bytes(fields["abi_version"], "little"),
        plan_sha256=fields["plan_hash"].hex(),
        regions=tuple(region.address for region in manifest.regions) if manifest else (),
        manifest=manifest is not None,
    )
