"""Fault reports from what other tools say: sanitizers, valgrind, gdb, core files, coredumpctl.

Each format is a module with a function from text to a `Source`, which says no more than the text does; `place` finds
the files and link-time addresses of its frames, and `build` makes the report.  A core file takes the way of a live
process.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, get_args

from pydantic import ValidationError

from stemrw.documents.fault_report import FaultReport
from stemrw.documents.read import MAX_BYTES, complaint, shown
from stemrw.errors import DocumentError, UsageError
from stemrw.sense.importers.seen import Finding, Source

Format = Literal["sanitizer", "valgrind-xml", "valgrind-text", "gdb", "coredumpctl", "core"]
FORMATS: tuple[Format, ...] = get_args(Format)
_LONGEST = 4096
"""Characters of a line that are looked at."""
_KNOWN = "known are the texts of AddressSanitizer, UBSan, valgrind, gdb and coredumpctl, valgrind's XML, and core files"
_COMPRESSED = {
    b"\x28\xb5\x2f\xfd": "zstd -d",
    b"\x04\x22\x4d\x18": "lz4 -d",
    b"\xfd7zX": "xz -d",
    b"\x1f\x8b": "gzip -d",
}


@dataclass(frozen=True)
class Imported:
    """A report; what else the file holds, as (number, what, why it was left out); and what could not be believed."""

    report: FaultReport
    chosen: str
    left_out: tuple[tuple[int, str, str], ...] = ()
    notes: tuple[str, ...] = ()


def import_report(
    path: Path | None, *, kind: Format | None = None, program: Path | None = None, error: int | None = None
) -> Imported:
    """The report of a fault that a file tells of; None: standard input.

    `kind` is the format, if the content is not to decide.  `program` is where the file that failed is, if the source
    does not say it, or names another place.  `error` is the number of an error, the first is 1; without it the first is
    taken that is a fault.

    Raises DocumentError: unreadable, of no known format, nothing in it is a fault.  UsageError: there is no such error.
    """
    name = str(path) if path is not None else "standard input"
    try:
        with _opened(path) as file:
            start = _peeked(file)
            for magic, command in _COMPRESSED.items():
                if start.startswith(magic):
                    raise DocumentError("this is compressed", file=name, hint=f"unpack it first: {command}")
            if kind == "core" or kind is None and start.startswith(b"\x7fELF"):
                return _core(file.fileno(), name, program, error)
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        raise DocumentError(f"cannot be read: {reason}", file=name) from None
    if len(data) > MAX_BYTES:
        hint = "cut out the part with the error"
        raise DocumentError(f"larger than {MAX_BYTES >> 20} MiB", file=name, hint=hint)
    return from_text(data.decode("utf-8", "backslashreplace"), name, kind=kind, program=program, error=error)


def from_text(
    text: str, name: str, *, kind: Format | None = None, program: Path | None = None, error: int | None = None
) -> Imported:
    """As `import_report`, of a text; `name` stands for it in errors."""
    from stemrw.sense.importers.build import build

    found = kind or detect(text)
    if found is None:
        looks = text.lstrip().startswith("{") and '"class"' in text
        hint = "is it a fault report already? `stemrw patch --fault` takes it as it is" if looks else _KNOWN
        raise DocumentError("what wrote this is not recognised", file=name, hint=hint)
    if found != "valgrind-xml":
        text = "\n".join(line[:_LONGEST] for line in text.splitlines())
    try:
        source = _reader(found)(text)
    except DocumentError as problem:
        raise DocumentError(problem.message, file=name, hint=problem.hint) from None
    number, finding = _chosen(source, error, name)
    try:
        built = build(source, finding, program, name)
    except ValidationError as problem:
        raise DocumentError(f"it says what cannot be: {complaint(problem)}", file=name) from None
    left = [(i, each) for i, each in enumerate(source.findings, 1) if i != number]
    out = tuple((i, shown(each.title), each.refusal or "another error") for i, each in left)
    return Imported(built.report, shown(finding.title), out, built.notes)


def detect(text: str) -> Format | None:
    """By content: the format of a text, or None."""
    if "<valgrindoutput>" in text[:4096]:
        return "valgrind-xml"
    if "ERROR: AddressSanitizer" in text or ": runtime error: " in text:
        return "sanitizer"
    if re.search(r"^==\d+== +(?:at|by) 0x", text, re.MULTILINE) or re.search(r"^==\d+== Memcheck", text, re.MULTILINE):
        return "valgrind-text"
    if re.search(r"^ *Stack trace of thread \d+:", text, re.MULTILINE) or re.search(
        r"^ +Storage: ", text, re.MULTILINE
    ):
        return "coredumpctl"
    return "gdb" if re.search(r"^#\d+ +\S", text, re.MULTILINE) else None


def _reader(kind: Format) -> Callable[[str], Source]:
    from stemrw.sense.importers import asan, coredumpctl, gdb, valgrind_text, valgrind_xml

    readers: dict[Format, Callable[[str], Source]] = {
        "sanitizer": asan.read,
        "valgrind-xml": valgrind_xml.read,
        "valgrind-text": valgrind_text.read,
        "gdb": gdb.read,
        "coredumpctl": coredumpctl.read,
    }
    return readers[kind]


def _chosen(source: Source, error: int | None, name: str) -> tuple[int, Finding]:
    findings = source.findings
    if not findings:
        raise DocumentError(f"{source.tool} tells of no error here", file=name, hint="is the text complete?")
    if error is not None:
        if not 1 <= error <= len(findings):
            raise UsageError(f"there is no error {error}: there are {len(findings)}", file=name)
        chosen = findings[error - 1]
        if chosen.fault_class is None or not chosen.stack:
            why = chosen.refusal or "no stack is shown with it"
            raise DocumentError(f"error {error} cannot be made a report: {why}", file=name)
        return error, chosen
    for number, finding in enumerate(findings, 1):
        if finding.fault_class is not None and finding.stack:
            return number, finding
    first = next((finding for finding in findings if finding.fault_class is not None), findings[0])
    more = f"; nor do the {len(findings) - 1} others" if len(findings) > 1 else ""
    why = first.refusal or "no stack is shown with it"
    raise DocumentError(f"nothing here makes a fault report: {shown(first.title)}: {why}{more}", file=name)


def _core(descriptor: int, name: str, program: Path | None, error: int | None) -> Imported:
    from stemrw.sense.importers import core
    from stemrw.sense.report import Reporter

    if error not in (None, 1):
        raise UsageError("a core file tells of one fault", file=name)
    taken, notes = core.snapshot(descriptor, name, program)
    try:
        reporter = Reporter(taken)
        try:
            report = reporter.crash()
        finally:
            reporter.close()
    finally:
        taken.close()
    report = report.model_copy(update={"sensor": f"{report.sensor}, from a core file"})
    return Imported(report, f"{report.signal} in a core file", notes=tuple(notes))


def _opened(path: Path | None) -> IO[bytes]:
    """The file, so that it can be read from any place: what comes through a pipe is kept in a temporary file first."""
    file: IO[bytes] = sys.stdin.buffer
    if path is not None:
        file = open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")  # noqa: SIM115
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        os.set_blocking(file.fileno(), True)
    kept = tempfile.TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(file, kept)
    kept.seek(0)
    return kept


def _peeked(file: IO[bytes]) -> bytes:
    start = file.read(8)
    file.seek(0)
    return start
