"""A `Difference` for people, as lines and tables; and the sentences that the page shows too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stemrw.cli._render import region_name, returned_value, rule_text
from stemrw.cli._tables import Line, Table, heading
from stemrw.documents.difference import (
    ChangedRange,
    CodeLine,
    Difference,
    FileFacts,
    PatchedEntry,
    Verdict,
)
from stemrw.documents.plan import PlannedRegion
from stemrw.documents.rules import AnyRule

ANSWERS: dict[Verdict, tuple[str, str]] = {
    "accounted": (
        "Yes",
        "every byte in which the two files differ is accounted for, and to harden the original again gives this file",
    ),
    "accounted-not-rebuilt": (
        "As far as the manifest goes",
        "every changed byte of the original is accounted for, but what was appended could not be made again here",
    ),
    "unaccounted": ("No", "the files differ in something that the manifest does not account for"),
}
"""What to answer to "can this be signed off?", in a word and in a sentence."""

TO_JUDGE = (
    "What no tool decides: whether the functions below are the right ones to give up on a fault, and whether their "
    "callers do the right thing with the values that a rescue returns."
)
IDENTICAL = "Everything else is identical: {:,} bytes, each of them compared."
_STYLES = {"ok": "green", "failed": "bold red", "skipped": "yellow", "differs": "yellow"}
_BOTH = ("original", "hardened")
_KINDS = {
    "region": "runs emulated, with a checkpoint",
    "start": "prepares the runtime",
    "observe": "tells the runtime of signal handling",
    "protect": "tells the runtime that code may change",
    "stop": "gives back what the runtime holds",
}
_SHOWN = 16
"""Bytes of a changed range that a row shows."""


def review(difference: Difference) -> Iterator[Line | Table]:
    """Everything, the answer first."""
    word, sentence = ANSWERS[difference.verdict]
    yield Line("Can this be signed off?", "bold")
    yield Line(f"{word}: {sentence}.", "bold green" if difference.accounted else "bold red")
    if difference.accounted:
        yield Line(TO_JUDGE)
    yield from heading("Checks")
    checks = difference.checks
    yield Table(
        ("result", "check", "found"),
        [(check.outcome, check.name, check.text) for check in checks],
        [_STYLES[check.outcome] for check in checks],
    )
    yield from heading("Files")
    yield Table(("", *_BOTH), list(file_rows(difference)), wrap=_BOTH)
    for region in difference.regions:
        yield from heading(f"Region {region_name(region)}, {region.size} bytes")
        yield from (Line(f"  {text}") for text in region_sentences(region))
    if difference.rules:
        yield from heading("Rules of the whole file")
        yield from (Line(f"  {rule_sentence(rule)}") for rule in difference.rules)
    yield from heading("Changed bytes of the original")
    yield Table(
        ("offset", "address", "size", "what", *_BOTH),
        [change_row(change, _SHOWN) for change in difference.changes],
        ["" if change.accounted else "bold red" for change in difference.changes],
        right=("size",),
        wrap=("what", *_BOTH),
    )
    yield Line(IDENTICAL.format(difference.identical))
    yield from heading("Appended behind the original")
    yield Table(
        ("offset", "address", "size", "what"),
        [(hex(a.offset), _address(a.address), f"{a.size:,}", a.what) for a in difference.appended],
        right=("size",),
    )
    if difference.headers:
        yield from heading("Program and section headers")
        rows = [(f"{h.table} {h.index}", h.before or "(none)", h.after or "(none)") for h in difference.headers]
        yield Table(("header", *_BOTH), rows, wrap=_BOTH)
    for entry in difference.entries:
        yield from heading(entry_title(entry))
        for title, lines in entry_parts(entry):
            yield Line(f"  {title}", "dim")
            yield Table(("  address", "bytes", "instruction"), code_rows(lines))


def file_rows(difference: Difference) -> Iterator[tuple[str, str, str]]:
    """What is to be said of both files."""
    a, b = difference.original, difference.hardened
    yield "file", a.path or "(restored from the hardened file and its manifest)", b.path or ""
    yield "size", f"{a.size:,} bytes", f"{b.size:,} bytes ({b.size - a.size:+,})"
    yield "sha256", a.sha256, b.sha256
    yield "build-id", a.build_id or "(none)", b.build_id or "(none)"
    for name, of in (("mode", _mode), ("owner", _owner), ("extended attributes", _attributes)):
        if of(a) or of(b):
            yield name, of(a) or "(unknown)", of(b) or "(unknown)"


def region_sentences(region: PlannedRegion) -> Iterator[str]:
    """Why it was chosen, what it returns and where that was learned."""
    yield from region.why
    because = f": {'; '.join(region.return_evidence)}" if region.return_evidence else ""
    yield f"a rescue returns {returned_value(region)}{because}"
    if region.check_address is not None:
        yield f"the reported fault: at {region.check_address:#x} ({region.check_class})"
    yield from map(rule_sentence, region.rules)


def rule_sentence(rule: AnyRule) -> str:
    """What it asks of the runtime, and why it is there."""
    return rule_text(rule) + (f" ({rule.why})" if rule.why else "")


def change_row(change: ChangedRange, shown: int) -> tuple[str, ...]:
    """Cells of a changed range, with up to `shown` of its bytes: of a longer one, from the first that differs on."""
    skip = 0
    if change.size > shown:
        old, new = bytes.fromhex(change.original), bytes.fromhex(change.hardened)
        skip = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
    cells = (_bytes(text, skip, shown) for text in (change.original, change.hardened))
    return hex(change.offset), _address(change.address), f"{change.size:,}", change.what, *cells


def entry_title(entry: PatchedEntry) -> str:
    """What is patched there, in words."""
    what = _KINDS.get(entry.kind, entry.kind)
    return f"{entry.name or 'function'} at {entry.function:#x}: {what}"


def entry_parts(entry: PatchedEntry) -> Iterator[tuple[str, Sequence[CodeLine]]]:
    """Titles and code, in the order in which it is read."""
    yield "before", entry.before
    yield "after", entry.after
    yield "its gate", entry.gate
    yield "the replaced instructions, moved", entry.displaced


def code_rows(lines: Sequence[CodeLine]) -> list[tuple[str, str, str]]:
    return [(f"  {line.address:#x}", line.code, line.text) for line in lines]


def _bytes(text: str, skip: int, shown: int) -> str:
    part = text[2 * skip : 2 * (skip + shown)]
    return f"{f'(+{skip:#x}) …' if skip else ''}{part}{'…' if 2 * skip + len(part) < len(text) else ''}"


def _address(address: int | None) -> str:
    return hex(address) if address is not None else ""


def _mode(file: FileFacts) -> str:
    return file.mode or ""


def _owner(file: FileFacts) -> str:
    return file.owner or ""


def _attributes(file: FileFacts) -> str:
    return ", ".join(file.attributes)
