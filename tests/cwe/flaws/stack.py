"""CWE-121: more is written into an array on the stack than it holds."""

from __future__ import annotations

from cwe.flaws.copies import NUMBERS, PAIR, TEXT, Copy
from cwe.model import Flaw


def _overrun(copy: Copy, reach: str, *, alloca: bool = False) -> Flaw:
    size = f"{copy.count} * sizeof({copy.element})"
    if alloca:
        room = f"{copy.element} *buffer = ({copy.element} *)alloca({size}); memset(buffer, 0, {size});"
    else:
        room = f"{copy.element} buffer[{copy.count}]; memset(buffer, 0, sizeof buffer);"
    text = copy.data != "int"
    seen = "strlen(buffer)" if text else size
    return Flaw(
        121,
        f"{'alloca' if alloca else 'array'}-{copy.name}-{reach}",
        copy.data,
        f"data = {'text(record)' if text else '(int)number(record)'};",
        f"data = {copy.tame};",
        f"{room} {copy.code} value += checksum(buffer, {seen});",
        copy.fine,
        f"!x:{copy.near if reach == 'near' else copy.far}",
        declarations=PAIR,
    )


_FIELD = Flaw(
    121,
    "field-strcpy-far",
    "const char *",
    "data = text(record);",
    'data = "tame";',
    "struct { char name[12]; long rank; char *more; } item; memset(&item, 0, sizeof item); item.more = letters; "
    "strcpy(item.name, data); value = item.rank + *item.more + checksum(item.name, strlen(item.name));",
    "strlen(data) < 12",
    "!x:" + "m" * 600,
)

_CPP = (
    Flaw(
        121,
        "copy_n-far",
        "int",
        "data = (int)number(record);",
        "data = 4;",
        "int items[10] = {}; std::copy_n(reinterpret_cast<const int *>(letters), data, items); "
        "value = checksum(items, sizeof items);",
        "data <= 10",
        "!x:300",
        declarations="#include <algorithm>",
        cpp=True,
    ),
)

FLAWS = (
    *(_overrun(copy, reach) for copy in (*TEXT, *NUMBERS) for reach in ("far", "near")),
    *(_overrun(copy, "far", alloca=True) for copy in (TEXT[0], NUMBERS[0], NUMBERS[1])),
    _FIELD,
    *_CPP,
)
"""Flaws of CWE-121."""
