"""A fault report for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stemrw.cli._tables import Line, Table, heading
from stemrw.documents.fault_report import FaultReport, Frame, Location


def reported(report: FaultReport) -> Iterator[Line | Table]:
    """What happened, the backtrace, and the heap block in question."""
    yield Line(f"{report.fault_class} in {place(report.pc)}", "bold red")
    yield from heading("What is known")
    yield Table(("", ""), list(_facts(report)))
    if report.backtrace:
        yield from heading("Backtrace")
        yield _frames(report.backtrace)
    if report.backtrace_truncated is not None:
        yield Line(f"cut after {report.backtrace_truncated.innermost} frames")
    if report.backtrace_note:
        yield Line(report.backtrace_note)
    if report.block is not None:
        for title, frames in (("Allocated", report.block.allocated), ("Freed", report.block.freed)):
            if frames:
                yield from heading(title)
                yield _frames(frames)


def place(where: Location) -> str:
    """Name, address and file of a place, as far as they are known."""
    name = where.symbol or (f"the function at {where.function:#x}" if where.function is not None else "unknown code")
    at = f"{'' if where.symbol else ','} at {where.address:#x}" if where.address is not None else ""
    return f"{name}{at}" + (f" of {where.module}" if where.module else "")


def _facts(report: FaultReport) -> Iterator[tuple[str, str]]:
    yield "program", report.program.path
    if report.program.build_id:
        yield "build-id", report.program.build_id
    if report.signal:
        code = f", code {report.si_code}" if report.si_code is not None else ""
        yield "signal", report.signal + code
    if report.sent_by is not None:
        yield "sent by", f"process {report.sent_by}"
    if report.access or report.fault_address is not None:
        size = f" of {report.access_size} bytes" if report.access_size else ""
        at = f" at {report.fault_address:#x}" if report.fault_address is not None else ""
        yield "access", f"{report.access or 'access'}{size}{at}"
    block = report.block
    if block is not None and (block.size is not None or block.offset is not None):
        size = f"{block.size} bytes" if block.size is not None else "of unknown size"
        yield "heap block", size + (f", accessed at offset {block.offset}" if block.offset is not None else "")
    if report.instruction:
        yield "instruction", report.instruction.text
    if report.hang is not None:
        yield "hang", f"{'spins' if report.hang.spinning else 'waits'}, over {report.hang.seconds:g} s"
    if report.command:
        yield "command", " ".join(report.command)
    if report.sensor:
        yield "sensor", report.sensor


def _frames(frames: Sequence[Frame]) -> Table:
    rows = [
        (
            str(number),
            hex(frame.address) if frame.address is not None else "?",
            (frame.symbol or "?") + ("" if frame.certain else " (a guess)"),
            frame.module or "?",
        )
        for number, frame in enumerate(frames)
    ]
    return Table(("", "address", "function", "file"), rows, right=("",), wrap=("function", "file"))
