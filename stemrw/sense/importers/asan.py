"""AddressSanitizer's text: what it found, the access, the stack, and the heap block in question.

The lines of UndefinedBehaviorSanitizer, which is often built in too, may stand between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from stemrw.documents.fault_report import Access, FaultClass
from stemrw.sense.importers import sanitizer, ubsan
from stemrw.sense.importers.seen import MOST, Finding, Seen, Source
from stemrw.sense.importers.signals import SIGNALS, of_segmentation

_ERROR = re.compile(r"^(?:==(\d+)==)?\s*ERROR: AddressSanitizer:? (.*)$")
_END = re.compile(r"^SUMMARY: AddressSanitizer|^(?:==\d+==)?\s*ABORTING")
_ACCESS = re.compile(r"^(READ|WRITE) of size (\d+) at 0x[0-9a-f]+")
_CAUSED = re.compile(r"caused by a (READ|WRITE) memory access")
_ADDRESS = re.compile(r"\b(?:on|at)(?: unknown)? address 0x([0-9a-f]{1,16})|(?:\bon|: )\s*0x([0-9a-f]{1,16}) in thread")
_EXACT = re.compile(r"\(pc 0x([0-9a-f]{1,16}) ")
_BLOCK = re.compile(
    r"^0x[0-9a-f]+ is located (\d{1,19}) bytes (to the left of|to the right of|before|after|inside of) "
    r"(\d{1,19})-byte region"
)
_KINDS: dict[str, FaultClass] = {
    "heap-buffer-overflow": "heap-overflow",
    "heap-use-after-free": "use-after-free",
    "attempting double-free": "double-free",
    "double-free": "double-free",
    "attempting free on address which was not malloc()-ed": "invalid-free",
    "bad-free": "invalid-free",
    "attempting to call malloc_usable_size() for pointer which is not owned": "invalid-free",
    "alloc-dealloc-mismatch": "invalid-free",
    "new-delete-type-mismatch": "invalid-free",
    "stack-buffer-overflow": "stack-smash",
    "stack-buffer-underflow": "stack-smash",
    "dynamic-stack-buffer-overflow": "stack-smash",
    "stack-use-after-return": "out-of-bounds",
    "stack-use-after-scope": "out-of-bounds",
    "global-buffer-overflow": "out-of-bounds",
    "container-overflow": "out-of-bounds",
    "intra-object-overflow": "out-of-bounds",
    "use-after-poison": "out-of-bounds",
    "unknown-crash": "out-of-bounds",
    "stack-overflow": "stack-exhaustion",
    "out of memory": "memory-exhaustion",
    "out-of-memory": "memory-exhaustion",
    "allocator is out of memory": "memory-exhaustion",
    "requested allocation size": "memory-exhaustion",
    "allocation-size-too-big": "memory-exhaustion",
    "calloc-overflow": "memory-exhaustion",
    "reallocarray-overflow": "memory-exhaustion",
    "calloc parameters overflow": "memory-exhaustion",
    "reallocarray parameters overflow": "memory-exhaustion",
    "negative-size-param": "out-of-bounds",
    "memcpy-param-overlap": "out-of-bounds",
    "strcpy-param-overlap": "out-of-bounds",
}
"""By the beginning of the message.  A stack buffer is left across what protects or ends its frame: a read goes the same
way as a write, but is no more than out of bounds."""
_LEAKS = ("detected memory leaks", "odr-violation", "initialization-order-fiasco")


def read(text: str) -> Source:
    """All errors of a text that AddressSanitizer or UndefinedBehaviorSanitizer wrote, and others wrote to."""
    findings = tuple(islice(_findings(text.splitlines()), MOST))
    return Source("AddressSanitizer" if "AddressSanitizer" in text else "UndefinedBehaviorSanitizer", findings)


def _findings(lines: Sequence[str]) -> Iterator[Finding]:
    begins = [i for i, line in enumerate(lines) if _ERROR.match(line) or ubsan.ERROR.match(line)]
    for begin, following in pairwise([*begins, len(lines)]):
        part = lines[begin:following]
        if ubsan.ERROR.match(part[0]):
            yield ubsan.finding(part)
        else:
            end = next((i for i, line in enumerate(part) if i and _END.match(line)), len(part))
            yield _finding(part[:end])


def _finding(lines: Sequence[str]) -> Finding:
    found = _ERROR.match(lines[0])
    what = found[2] if found else ""
    stacks = list(_stacks(lines))
    fault_class, signal, address, refusal = _class(what, lines)
    access, size = _access(lines)
    if fault_class == "stack-smash" and access == "read":
        fault_class = "out-of-bounds"
    inner = _titled(stacks, "")
    exact = _EXACT.search(what) is not None
    allocated, freed = _titled(stacks, "allocated by"), _titled(stacks, "freed by")
    block = next(filter(None, map(_BLOCK.match, lines)), None)
    return Finding(
        title=what.partition(" at pc ")[0].partition(" (pc ")[0][:200],
        fault_class=fault_class,
        refusal=refusal,
        stack=sanitizer.stack(inner, exact=exact),
        signal=signal,
        fault_address=address,
        access=access,
        access_size=size,
        block_size=int(block[3]) if block else None,
        block_offset=_offset(int(block[1]), block[2], int(block[3])) if block else None,
        allocated=sanitizer.stack(allocated, exact=False),
        freed=sanitizer.stack(freed, exact=False),
    )


def _class(what: str, lines: Sequence[str]) -> tuple[FaultClass | None, str | None, int | None, str | None]:
    """Class, signal and address; or why it is no fault."""
    found = _ADDRESS.search(what)
    address = int(found[1] or found[2], 16) if found else None
    if any(each in what for each in _LEAKS):
        return None, None, None, "what it found is no fault that a rescue could undo"
    for kind, fault_class in _KINDS.items():
        if what.startswith(kind):
            return fault_class, None, address if fault_class != "memory-exhaustion" else None, None
    word = what.partition(" ")[0]
    if word not in SIGNALS:
        return None, None, None, "this kind of error is not known"
    pc = _EXACT.search(what)
    if word != "SEGV":
        return SIGNALS[word], f"SIG{word}", address if word == "BUS" else None, None
    if any("address points to the zero page" in line for line in lines) and address is None:
        address = 0
    told = None if any("cause by dereference of a high value address" in line for line in lines) else address
    return of_segmentation(told, int(pc[1], 16) if pc else None), "SIGSEGV", told, None


def _access(lines: Sequence[str]) -> tuple[Access | None, int | None]:
    for line in lines:
        found = _ACCESS.match(line)
        if found:
            return ("read" if found[1] == "READ" else "write"), int(found[2][:18]) or None
        caused = _CAUSED.search(line)
        if caused:
            return ("read" if caused[1] == "READ" else "write"), None
    return None, None


def _offset(distance: int, where: str, size: int) -> int:
    """From the block's first byte."""
    if where in ("to the left of", "before"):
        return -distance
    return distance if where == "inside of" else size + distance


def _stacks(lines: Sequence[str]) -> Iterator[tuple[str, list[Seen]]]:
    """The stacks of one error, each with the line that stands over it."""
    title, found = lines[0], list[Seen]()
    for line in lines[1:]:
        shown = sanitizer.frame(line)
        if shown is None:
            if found:
                yield title, found
                found = []
            title = line if line.strip() else title
        else:
            if shown[0] == 0 and found:
                yield title, found
                found = []
            found.append(shown[1])
    if found:
        yield title, found


def _titled(stacks: Sequence[tuple[str, list[Seen]]], words: str) -> list[Seen]:
    """The first stack with these words over it."""
    return next((frames for title, frames in stacks if words in title), [])
