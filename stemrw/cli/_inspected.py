"""An `Inspection` for people, as lines and tables."""

from __future__ import annotations

from collections.abc import Iterator

from stemrw.cli._tables import Line, Table, heading
from stemrw.documents.inspection import FunctionSummary, Inspection
from stemrw.text import counted

_STYLES = {"blocks": "bold red", "degrades": "yellow", "note": ""}
_DEBUG = {"inside": "DWARF inside", "separate": "DWARF in an installed debug file", "named": "DWARF not installed"}


def inspected(inspection: Inspection) -> Iterator[Line | Table]:
    """Everything, the answer first."""
    yield Line(f"{inspection.path}: {_answer(inspection)}", "bold green" if inspection.patchable else "bold red")
    yield from heading("What it is")
    yield Table(("", ""), list(_facts(inspection)))
    yield from heading("Functions")
    yield from _functions(inspection.functions)
    if inspection.obstacles:
        yield from heading("Obstacles")
        rows = [(each.severity, each.code, each.what, each.advice) for each in inspection.obstacles]
        styles = [_STYLES[row[0]] for row in rows]
        yield Table(("severity", "code", "what", "what to do"), rows, styles, wrap=("what", "what to do"))
    if inspection.listing is not None:
        yield from heading("All functions")
        columns = ("address", "size", "found by", "can be patched", "name")
        yield Table(columns, list(_listing(inspection)), right=("size",), wrap=columns[-2:])


def _answer(inspection: Inspection) -> str:
    if not inspection.patchable:
        return "cannot be patched"
    less = sum(each.severity == "degrades" for each in inspection.obstacles)
    return "can be patched" + (f"; {counted(less, 'thing')} to consider" if less else "")


def _facts(inspection: Inspection) -> Iterator[tuple[str, str]]:
    build = inspection.build
    position = "position-independent" if build.position == "independent" else "at a fixed address"
    yield "kind", f"{'program' if build.kind == 'program' else 'shared library'}, {position}, {build.linking}"
    yield "C library", build.libc or "not recognised"
    yield "linker", build.linker or "not recorded (GNU ld leaves no mark)"
    yield "compiler", "; ".join(build.compilers) or "not recorded"
    if build.package:
        yield "package", build.package
    debug = _DEBUG[build.debug] if build.debug else "no DWARF"
    yield "symbols", f"{'symbol table' if build.symbols else 'stripped'}, {debug}"
    if build.control_flow:
        yield "control flow", ", ".join(build.control_flow)
    yield "build-id", inspection.file.build_id or "none"
    yield "sha256", inspection.file.sha256
    yield "size", f"{inspection.file.size:,} bytes"
    hardened = inspection.hardened
    if hardened is not None:
        regions = ", ".join(map(hex, hardened.regions)) or "known by its manifest only"
        yield (
            "hardened",
            f"by stemrw {hardened.tool_version or '(no manifest here)'}, plan {hardened.plan_sha256[:16]}…",
        )
        yield "regions", regions


def _functions(summary: FunctionSummary) -> Iterator[Line | Table]:
    share = summary.patchable / summary.total if summary.total else 0
    covered = summary.covered_bytes / summary.code_bytes if summary.code_bytes else 0
    found = ", ".join(f"{source} {count:,}" for source, count in summary.found.items())
    named = ", ".join(f"{source} {count:,}" for source, count in summary.named.items())
    rows = [
        ("found", f"{summary.total:,}, and {counted(summary.parts, 'part')} split off functions"),
        ("found by", found or "-"),
        ("named by", named or "-"),
        ("cover", f"{covered:.1%} of {summary.code_bytes:,} bytes of code"),
        ("can be patched", f"{summary.patchable:,} ({share:.1%})"),
    ]
    yield Table(("", ""), rows)
    if summary.refused:
        yield from heading("Functions that cannot be patched")
        refused = [(f"{reason.count:,}", hex(reason.example), reason.text) for reason in summary.refused]
        yield Table(("count", "such as", "why"), refused, right=("count",))


def _listing(inspection: Inspection) -> Iterator[tuple[str, str, str, str, str]]:
    for each in inspection.listing or ():
        answer = "with the function it belongs to" if each.part_of_another else each.refusal or "yes"
        yield hex(each.address), f"{each.size:,}", each.source, answer, each.name or ""
