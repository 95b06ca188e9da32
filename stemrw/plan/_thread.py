"""Is a function what a thread starts with: it is handed to `pthread_create` or the like."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from stemrw.image import Function
from stemrw.plan._reading import Reading

_STARTERS = {"pthread_create": "rdx", "thrd_create": "rsi", "g_thread_new": "rsi", "g_thread_try_new": "rsi"}
"""Library functions that start a thread, and the argument that says with which function."""
_LOADS = re.compile(rb"\x48\x8d[\x15\x35](?P<relative>....)|[\xba\xbe](?P<absolute>....)", re.DOTALL)
"""`lea rdx/rsi, [rip + …]`, `mov edx/esi, …`."""
_BEFORE_CALL = 12
"""Instructions between the address of the function and the call."""


def starts_thread(reading: Reading, function: Function) -> str | None:
    """How it is known that a thread starts with a function, in words; None: it is not known to."""
    for site in _loads(reading, function.entry):
        load, *behind = reading.image.successors(site, _BEFORE_CALL) or (None,)
        call = next((i for i in behind if i is not None and i.is_call), None)
        name = reading.image.called_name(call) if call is not None else None
        if load is None or call is None or name not in _STARTERS:
            continue
        if _STARTERS[name].removeprefix("r") in load.operands.partition(",")[0]:
            return f"it is handed to {name} ({call.address:#x})"
    return None


def _loads(reading: Reading, entry: int) -> Iterator[int]:
    """Addresses of what looks like an instruction that loads the address of a function as an argument."""
    elf = reading.image.elf
    for text in elf.texts:
        start = elf.offset_of(text.start)
        if start is None:
            continue
        for match in _LOADS.finditer(elf.data, start, start + len(text)):
            value = struct.unpack("<i", match["relative"] or match["absolute"])[0]
            behind = text.start + match.end() - start
            if value + (behind if match["relative"] else 0) == entry:
                yield text.start + match.start() - start
