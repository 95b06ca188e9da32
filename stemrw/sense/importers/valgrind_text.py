"""Memcheck's text: lines behind ==PID==, errors separated by empty ones.

==17868== Invalid write of size 1
==17868==    at 0x109198: heap_write (fails.c:15)
==17868==    by 0x109473: run (in /bin/fails)
==17868==  Address 0x4a4404a is 0 bytes after a block of size 10 alloc'd
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import islice

from stemrw.sense.importers import memcheck
from stemrw.sense.importers.memcheck import Message
from stemrw.sense.importers.seen import MOST, Seen, Source, Surroundings

_LINE = re.compile(r"^(?:==|--)(\d{1,10})(?:==|--) ?(.*)$")
_FRAME = re.compile(r"^ +(?:at|by) 0x([0-9A-Fa-f]{1,16}): (.+)$")
_FILE = re.compile(r"^(.*) \((?:in (.+)|[^()]*:\d+)\)$")
_SIGNAL = re.compile(r"default action of signal (\d{1,3}) \((SIG\w+)\)")
_MAPPED = re.compile(r"(?:at address|Bad permissions for mapped region at address) 0x([0-9A-Fa-f]{1,16})")


def read(text: str) -> Source:
    """All errors of the text; other lines may stand between."""
    lines = [(int(m[1]), m[2]) for m in map(_LINE.match, text.splitlines()) if m]
    command = next((line.partition("Command: ")[2] for _, line in lines if line.startswith("Command: ")), "")
    messages = memcheck.merged(map(memcheck.finding, islice(_messages([line for _, line in lines]), MOST)))
    surroundings = Surroundings(
        command=_words(command), pid=lines[0][0] if lines else None, usual=memcheck.USUAL,
    )  # fmt: skip
    return Source(memcheck.TOOL, messages, surroundings)


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command[:4096]))
    except ValueError:
        return (command,)


def _messages(lines: list[str]) -> Iterator[Message]:
    message: Message | None = None
    stack: list[Seen] = []
    for line in [*lines, ""]:
        shown = _FRAME.match(line)
        if shown is not None:
            if message is not None:
                stack.append(_frame(int(shown[1], 16), shown[2]))
        elif not line.strip():
            if message is not None and message.stack:
                yield message
            message = None
        elif message is None:
            message = Message(what=line.strip(), kind=memcheck.kind(line.strip()))
            stack = message.stack
            signal = _SIGNAL.search(line)
            message.signal = signal[2] if signal else None
        elif not message.stack and (message.signal or line.startswith(" ")):
            mapped = _MAPPED.search(line)
            message.address = int(mapped[1], 16) if mapped else message.address
        elif message.stack:
            stack = []
            message.more.append((line.strip(), stack))


def _frame(pc: int, text: str) -> Seen:
    found = _FILE.match(text)
    name = found[1] if found else text
    symbol = name if name and name != "???" else None
    return Seen(pc=pc, symbol=symbol, module=found[2] if found else None)
