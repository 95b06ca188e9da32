"""What the texts of all sanitizers have in common: the frames of a stack.

    #0 0x563bf654336e in heap_write /src/fails.c:15:49
    #1 0x563bf6543f21 in run (/bin/fails+0x3f21) (BuildId: 4489c6ff…)

The runtime shows return addresses less one, so that they lie inside the call; the first frame of an error that a check
of the compiled code found is such an address too, the first frame of a signal is exact.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from stemrw.sense.importers.seen import Seen

_FRAME = re.compile(
    r"^\s*#(\d{1,6}) 0x([0-9a-f]{1,16})(?: +in (.*?))?"
    r"(?: +\((?:<unknown module>|(/[^()]*|[^()/ ]+)\+0x([0-9a-f]{1,16}))\))?"
    r"(?: +\(BuildId: ((?:[0-9a-f]{2}){2,32})\))?\s*$"
)
_SOURCE = re.compile(r" +(?:/|\.\.?/|[\w.+-]+/|[\w.+-]+\.\w+:|<null>)[^ ]*(?::\d+){0,2}$")


def frame(line: str) -> tuple[int, Seen] | None:
    """Number and content of a line that shows a frame; the address as it is shown."""
    found = _FRAME.match(line)
    if found is None:
        return None
    number, pc, symbol, module, offset, build_id = found.groups()
    symbol = _SOURCE.sub("", symbol).strip() if symbol else None
    seen = Seen(
        pc=int(pc, 16),
        symbol=symbol or None,
        module=module,
        offset=int(offset, 16) if offset else None,
        build_id=build_id,
        returns=False,
    )
    return int(number), seen


def stack(shown: Sequence[Seen], *, exact: bool) -> tuple[Seen, ...]:
    """The frames with their true addresses; `exact`: the first one is not behind a call.

    Functions that were inlined share an address with the one that holds their code, which is shown last.
    """
    frames: list[Seen] = []
    for index, each in enumerate(shown):
        if index + 1 < len(shown) and shown[index + 1].pc == each.pc and shown[index + 1].module == each.module \
                and not _recurses(each, shown[index + 1]):  # fmt: skip
            continue
        returns = not (exact and not frames)
        frames.append(replace(each, pc=_plus(each.pc, returns), offset=_plus(each.offset, returns), returns=returns))
    return tuple(frames)


def _recurses(one: Seen, other: Seen) -> bool:
    return one.symbol == other.symbol


def _plus(address: int | None, one: bool) -> int | None:
    return (address + one) % (1 << 64) if address is not None else None
