"""What `coredumpctl info` prints: a table of fields, and a stack of each thread, that of the crash first.

       Signal: 11 (SEGV)
   Executable: /usr/bin/fails
      Message: Process 4321 (fails) of user 1000 dumped core.
               Module /usr/bin/fails with build-id 4489c6ff…
               Stack trace of thread 4321:
               #0  0x0000555fd4e6a275 null_read (fails + 0x1275)
               #1  0x0000555fd4e6a4cd n/a (/usr/bin/fails + 0x14cd)

Addresses are the process's own, return addresses as they are; offsets count from where the module begins.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

from stemrw.sense.importers.seen import Finding, Seen, Source, Surroundings
from stemrw.sense.importers.signals import SIGNALS

_FIELD = re.compile(r"^ *(PID|Signal|Command Line|Executable|Storage): (.*)$")
_THREAD = re.compile(r"^ *Stack trace of thread (\d{1,10}):")
_FRAME = re.compile(r"^ *#(\d{1,6}) +0x([0-9a-f]{1,16}) +(.+?) \(([^()]+?)(?: \+ 0x([0-9a-f]{1,16}))?\) *$")
_MODULE = re.compile(r"^ *(?:Found m|M)odule (\S.*?) with build-id:? ((?:[0-9a-f]{2}){2,32})\b")


def read(text: str) -> Source:
    """The crash of the first entry."""
    fields: dict[str, str] = {}
    stacks: list[tuple[int, list[Seen]]] = []
    build_ids: dict[str, str] = {}
    for line in text.splitlines():
        if found := _FIELD.match(line):
            if found[1] == "PID" and found[1] in fields:
                break
            fields.setdefault(found[1], found[2].strip())
        elif found := _THREAD.match(line):
            stacks.append((int(found[1]), []))
        elif found := _MODULE.match(line):
            build_ids.setdefault(found[1], found[2])
        elif stacks and (found := _FRAME.match(line)) and int(found[1]) == len(stacks[-1][1]):
            stacks[-1][1].append(_frame(found, first=not stacks[-1][1]))
    program = fields.get("Executable")
    command = _words(fields.get("Command Line", ""))
    pid = next(iter(re.findall(r"^\d{1,10}", fields.get("PID", ""))), None)
    surroundings = Surroundings(
        program, command, int(pid) if pid else None, build_ids=build_ids, offsets_from_start=True
    )
    tid, frames = stacks[0] if stacks else (None, [])
    stack = tuple(_with_paths(frames, program))
    return Source("coredumpctl", (_finding(fields.get("Signal", ""), tid, stack),), surroundings)


def _finding(signal: str, tid: int | None, stack: tuple[Seen, ...]) -> Finding:
    found = re.match(r"\d{1,3} \(([A-Z]+)\)", signal)
    name = found[1] if found else ""
    if name not in SIGNALS:
        return Finding(f"signal {signal or 'unknown'}", None, "it was not ended by a fault", stack)
    jumped = name == "SEGV" and bool(stack) and stack[0].module is None and stack[0].symbol is None
    return Finding(
        title=f"SIG{name}",
        fault_class="wild-jump" if jumped else SIGNALS[name],
        stack=stack,
        signal=f"SIG{name}",
        fault_address=stack[0].pc if jumped else None,
        access="execute" if jumped else None,
        tid=tid,
        unsure=name == "SEGV" and not jumped,
    )


def _frame(found: re.Match[str], *, first: bool) -> Seen:
    offset = int(found[5], 16) if found[5] and found[4] != "n/a" else None
    symbol = found[3] if found[3] not in ("n/a", "??") else None
    return Seen(int(found[2], 16), symbol, found[4] if found[4] != "n/a" else None, offset, returns=not first)


def _with_paths(frames: Sequence[Seen], program: str | None) -> Iterator[Seen]:
    """Frames name modules by their last part: that of the program stands for its path."""
    for frame in frames:
        same = program is not None and frame.module == program.rpartition("/")[2]
        yield replace(frame, module=program) if same else frame


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command[:4096]))
    except ValueError:
        return (command,)
