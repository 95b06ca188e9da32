"""UndefinedBehaviorSanitizer's text: one line per error, and a stack behind it where UBSAN_OPTIONS asks for one.

    fails.c:24:42: runtime error: division by zero
        #0 0x559997f8f572 in divide /src/fails.c:24

Of what it finds, only some is a fault in a program that was built without it; the rest is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stemrw.documents.fault_report import Access, FaultClass
from stemrw.sense.importers import sanitizer
from stemrw.sense.importers.seen import Finding, Seen

ERROR = re.compile(r"^([^\s:][^:]*|):?(\d{1,9})?(?::\d{1,9})?: runtime error: (.*)$")
_KINDS: tuple[tuple[re.Pattern[str], FaultClass], ...] = (
    (re.compile(r"division by zero|^division of .* cannot be represented"), "divide"),
    (re.compile(r"^(load of|store to|member access within|member call on|reference binding to) null pointer"),
     "null-dereference"),
    (re.compile(r"misaligned address"), "bus"),
    (re.compile(r"^index .* out of bounds|insufficient space for an object"), "out-of-bounds"),
    (re.compile(r"^execution reached (an unreachable program point|the end of a value-returning function)"), "trap"),
)  # fmt: skip
_ADDRESS = re.compile(r"address 0x([0-9a-f]{1,16})")
_ACCESS = re.compile(r"^(load|store|member access)\b")
_HARMLESS = "undefined, but no fault: without the sanitizer the program goes on here"
_PLACELESS = "it names a source line only: run it again with UBSAN_OPTIONS=print_stacktrace=1"


def finding(lines: Sequence[str]) -> Finding:
    """The error of the first of these lines, which matches `ERROR`; the others end before the next error."""
    found = ERROR.match(lines[0])
    what = found[3] if found else ""
    frames: list[Seen] = []
    for line in lines[1:]:
        shown = sanitizer.frame(line)
        if shown is not None and shown[0] == len(frames):
            frames.append(shown[1])
        elif frames:
            break
    fault_class = next((name for pattern, name in _KINDS if pattern.search(what)), None)
    refusal = _HARMLESS if fault_class is None else None if frames else _PLACELESS
    address = _ADDRESS.search(what)
    return Finding(
        title=lines[0][:200],
        fault_class=fault_class,
        refusal=refusal,
        stack=sanitizer.stack(frames, exact=False),
        fault_address=int(address[1], 16) if address else 0 if what.find("null pointer of type") >= 0 else None,
        access=_access(what),
    )


def _access(what: str) -> Access | None:
    found = _ACCESS.match(what)
    if found is None or found[1] == "member access":
        return None
    return "read" if found[1] == "load" else "write"
