"""From one error of a source to a fault report: frames in their files, and what the faulting instruction adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import stemrw
from stemrw.documents.fault_report import Block, FaultReport, Frame, Instruction, Location, Truncation
from stemrw.errors import DocumentError
from stemrw.sense.classify import STACK_REACH
from stemrw.sense.code import Decoded, MemoryAccess, decode
from stemrw.sense.importers.place import Placer
from stemrw.sense.importers.seen import Finding, Seen, Source
from stemrw.sense.importers.signals import of_segmentation
from stemrw.sense.ptrace import REGISTERS
from stemrw.sense.report import INNERMOST_FRAMES, OUTERMOST_FRAMES
from stemrw.sense.snapshot import CODE_BYTES
from stemrw.text import unicode

_WORD = 1 << 64


@dataclass(frozen=True)
class Built:
    """A report, and sentences on what of the source could not be believed."""

    report: FaultReport
    notes: tuple[str, ...]


def build(source: Source, finding: Finding, program: Path | None, file: str) -> Built:
    """The report of one error.  `file` is named in errors.  Raises DocumentError: it leads nowhere."""
    assert finding.fault_class is not None
    kept, truncation = _cut(finding)
    around = (finding.allocated[:INNERMOST_FRAMES], finding.freed[:INNERMOST_FRAMES])
    placer = Placer(source.surroundings, (kept, *around), program)
    frames = placer.frames(kept)
    if not any(frame.module and (frame.address is not None or frame.symbol) for frame in frames):
        where = "no frame of it could be found in a file"
        raise DocumentError(where, file=file, hint="name the file that failed with --program")
    instruction = _instruction(frames, kept, finding, placer)
    finding = _clearer(finding, instruction, kept[0])
    paths = dict.fromkeys(frame.module for frame in frames if frame.module)
    block = Block(
        size=finding.block_size,
        offset=finding.block_offset,
        allocated=placer.frames(around[0]),
        freed=placer.frames(around[1]),
    )
    report = FaultReport(
        fault_class=finding.fault_class,
        program=placer.identity(placer.program(kept)),
        modules=tuple(map(placer.identity, paths)),
        signal=finding.signal,
        si_code=finding.si_code,
        fault_address=finding.fault_address,
        access=finding.access,
        access_size=finding.access_size,
        block=block if block != Block() else None,
        instruction=Instruction(code=instruction.code.hex(), text=instruction.text) if instruction else None,
        registers={name: finding.registers[name] for name in REGISTERS if name in finding.registers},
        pc=Location(**frames[0].model_dump(include=set(Location.model_fields))),
        backtrace=frames,
        backtrace_truncated=truncation,
        command=tuple(map(unicode, source.surroundings.command)),
        pid=source.surroundings.pid,
        tid=finding.tid,
        sensor=f"stemrw {stemrw.__version__}, from the output of {source.tool}",
    )
    return Built(report, tuple(placer.notes))


def _cut(finding: Finding) -> tuple[tuple[Seen, ...], Truncation | None]:
    """The two ends of a deep backtrace."""
    stack = finding.stack
    if len(stack) > INNERMOST_FRAMES + OUTERMOST_FRAMES:
        total = None if finding.truncated else len(stack)
        return (*stack[:INNERMOST_FRAMES], *stack[-OUTERMOST_FRAMES:]), Truncation(
            innermost=INNERMOST_FRAMES, total=total
        )
    return stack, Truncation(innermost=len(stack)) if finding.truncated else None


def _instruction(frames: Sequence[Frame], shown: Sequence[Seen], finding: Finding, placer: Placer) -> Decoded | None:
    """The one that failed, from the file; None where the address is not exact, or the file not believed."""
    first, image = frames[0], placer.image(frames[0].module)
    if image is None or first.address is None or first.return_address:
        return None
    code = image.elf.code(first.address, CODE_BYTES)
    known = dict.fromkeys(REGISTERS, 0) | dict(finding.registers)
    return decode(code, (shown[0].pc or 0) % _WORD, known, first.address)


def _clearer(finding: Finding, instruction: Decoded | None, first: Seen) -> Finding:
    """With what the instruction says: which of its operands was refused, if that is not told; and whether it only used
    the stack, which fails when that is exhausted."""
    if instruction is None or finding.signal != "SIGSEGV":
        return finding
    stack = finding.registers.get("rsp")
    refused = _refused(instruction, finding)
    if refused is not None:
        finding = replace(finding, access=refused.kind, access_size=refused.size or None)
    if finding.unsure and finding.registers and refused is not None:
        kind = of_segmentation(refused.address, first.pc)
        finding = replace(finding, fault_class=kind, fault_address=refused.address)
    address = finding.fault_address
    near = address is not None and stack is not None and abs(address - stack) <= STACK_REACH
    pushed = address is None and instruction.mnemonic in ("push", "call") and len(instruction.accesses) == 1
    if finding.fault_class == "wild-dereference" and (near or pushed):
        return replace(finding, fault_class="stack-exhaustion")
    return finding


def _refused(instruction: Decoded, finding: Finding) -> MemoryAccess | None:
    """The operand that failed: the only one, the one at the address, or the only one that is not canonical."""
    if len(instruction.accesses) == 1:
        return instruction.accesses[0]
    if not finding.registers:
        return None
    address = finding.fault_address
    fit = [a for a in instruction.accesses if (a.touches(address) if address is not None else not a.canonical)]
    return fit[0] if len(fit) == 1 else None
