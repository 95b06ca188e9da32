"""What memcheck's messages mean, in its XML and in its text alike.

Valgrind shows return addresses less one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from stemrw.documents.fault_report import Access, FaultClass
from stemrw.sense.importers.seen import Finding, Seen
from stemrw.sense.importers.signals import SIGNALS, of_segmentation

TOOL = "valgrind memcheck"
USUAL = (0x108000, 0x400000, 0x4000000)
"""Where valgrind loads position-independent programs."""

_BLOCK = re.compile(
    r"Address 0x([0-9a-fA-F]{1,16}) is ([\d,]{1,25}) bytes (before|after|inside) "
    r"(?:a|an unallocated|a recently re-allocated) block of size ([\d,]{1,25}) "
    r"(alloc'd|free'd|client-defined|in arena)?"
)
_ADDRESS = re.compile(r"Address 0x([0-9a-fA-F]{1,16}) ")
_SIZE = re.compile(r"^Invalid (read|write) of size (\d{1,9})")
_REFUSED = {
    "UninitCondition": "the use of an uninitialised value is no fault",
    "UninitValue": "the use of an uninitialised value is no fault",
    "SyscallParam": "the kernel refuses such a parameter by an error: no fault",
    "ClientCheck": "a check that the program asked valgrind for is no fault",
    "FishyValue": "an implausible size is no fault",
    "Overlap": "overlapping source and destination are no fault",
}
_LEAK = "a leak is no fault"


@dataclass
class Message:
    """One error as valgrind shows it: its kind and words, its stack, and what it adds, each with a stack of its own."""

    kind: str = ""
    what: str = ""
    stack: list[Seen] = field(default_factory=list)
    more: list[tuple[str, list[Seen]]] = field(default_factory=list)
    tid: int | None = None
    signal: str | None = None
    si_code: int | None = None
    address: int | None = None


def kind(what: str) -> str:
    """The kind of an error from its words: the text does not say it."""
    for words, name in (
        ("Invalid read", "InvalidRead"),
        ("Invalid write", "InvalidWrite"),
        ("Invalid free", "InvalidFree"),
        ("Mismatched free", "MismatchedFree"),
        ("Conditional jump", "UninitCondition"),
        ("Use of uninitialised", "UninitValue"),
        ("Syscall param", "SyscallParam"),
        ("Jump to the invalid address", "InvalidJump"),
        ("Process terminating with default action of signal", "signal"),
        ("Source and destination overlap", "Overlap"),
        ("Argument ", "FishyValue"),
    ):
        if what.startswith(words):
            return name
    return "Leak_" if "loss record" in what else ""


def finding(message: Message) -> Finding:
    """What the message means."""
    stack, title = true_addresses(message.stack), f"{message.kind}: {message.what}"[:200]
    if message.signal:
        fault_class = SIGNALS.get(message.signal.removeprefix("SIG"))
        if message.signal == "SIGSEGV":
            fault_class = of_segmentation(message.address, stack[0].pc if stack else None)
        elif fault_class is None:
            return Finding(title, None, "it was ended by a signal that is no fault", stack)
        address = message.address if message.signal in ("SIGSEGV", "SIGBUS") else None
        return Finding(title, fault_class, None, stack, signal=message.signal, si_code=message.si_code,
                       fault_address=address, tid=message.tid)  # fmt: skip
    block = next((found for words, _ in message.more if (found := _BLOCK.search(words))), None)
    fault_class, refusal = _class(message, block)
    size = _SIZE.match(message.what)
    freed_at = block is not None and block[5] == "free'd"
    first = next((frames for words, frames in message.more if _BLOCK.search(words)), [])
    second = next((frames for words, frames in message.more if words.startswith("Block was alloc'd")), [])
    return Finding(
        title,
        fault_class,
        refusal,
        stack,
        fault_address=_address(message),
        access="execute" if fault_class == "wild-jump" else _kind_of_access(size[1]) if size else None,
        access_size=int(size[2]) or None if size else None,
        block_size=_number(block[4]) if block else None,
        block_offset=_offset(block) if block else None,
        allocated=true_addresses(second if freed_at else first if block and block[5] == "alloc'd" else []),
        freed=true_addresses(first) if freed_at else (),
        tid=message.tid,
    )


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """An invalid access and the signal it ended in are shown one behind the other, with one stack: they are one."""
    found: list[Finding] = []
    for each in findings:
        before = found[-1] if found else None
        if each.signal and before is not None and before.fault_class and before.stack == each.stack:
            found[-1] = replace(before, signal=each.signal, si_code=each.si_code)
        else:
            found.append(each)
    return tuple(found)


def true_addresses(shown: Sequence[Seen]) -> tuple[Seen, ...]:
    """Return addresses as they are; of functions that share one by inlining, the one that holds the code."""
    frames: list[Seen] = []
    for index, each in enumerate(shown):
        if index + 1 < len(shown) and shown[index + 1].pc == each.pc and shown[index + 1].symbol != each.symbol:
            continue
        returns = bool(frames)
        frames.append(
            replace(each, pc=(each.pc + returns) % (1 << 64) if each.pc is not None else None, returns=returns)
        )
    return tuple(frames)


def _class(message: Message, block: re.Match[str] | None) -> tuple[FaultClass | None, str | None]:
    freed = block is not None and block[5] == "free'd"
    if message.kind in ("InvalidRead", "InvalidWrite"):
        if block is not None:
            return ("use-after-free" if freed and block[3] == "inside" else "heap-overflow"), None
        address = _address(message)
        if any("on thread" in words and "stack" in words for words, _ in message.more):
            return "out-of-bounds", None
        return of_segmentation(address, None), None
    if message.kind in ("InvalidFree", "InvalidMemPool"):
        return ("double-free" if freed and _offset(block) == 0 else "invalid-free"), None
    if message.kind == "MismatchedFree":
        return "invalid-free", None
    if message.kind == "InvalidJump":
        return "wild-jump", None
    refusal = (
        _LEAK if message.kind.startswith("Leak_") else _REFUSED.get(message.kind, "this kind of error is not known")
    )
    return None, refusal


def _kind_of_access(word: str) -> Access:
    return "read" if word == "read" else "write"


def _address(message: Message) -> int | None:
    found = next((m for words, _ in message.more if (m := _ADDRESS.search(words))), None)
    return int(found[1], 16) if found else None


def _number(text: str) -> int:
    return int(text.replace(",", "") or "0")


def _offset(block: re.Match[str] | None) -> int | None:
    """From the block's first byte to the first one accessed."""
    if block is None:
        return None
    distance, size = _number(block[2]), _number(block[4])
    return {"before": -distance, "inside": distance}.get(block[3], size + distance)
