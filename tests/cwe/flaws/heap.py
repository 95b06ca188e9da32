"""CWE-122: more is written into a block of the heap than it holds."""

from __future__ import annotations

from cwe.flaws.copies import NUMBERS, PAIR, TEXT, Copy
from cwe.model import Flaw

_NEIGHBOUR = "char *behind = (char *)malloc(64); memset(behind, 0, 64); KEEP(behind);"
"""What stands behind the block, most of the time."""


def _overrun(copy: Copy, reach: str, *, cpp: bool = False) -> Flaw:
    size = f"{copy.count} * sizeof({copy.element})"
    if cpp:
        get, release = f"{copy.element} *buffer = new {copy.element}[{copy.count}]();", "delete[] buffer;"
    else:
        get, release = f"{copy.element} *buffer = ({copy.element} *)calloc(1, {size});", "free(buffer);"
    text = copy.data != "int"
    seen = "strlen(buffer)" if text else size
    if reach == "edge":  # beyond the end of the heap
        bad = "80000000"
    else:
        bad = copy.near if reach == "near" else copy.far
    return Flaw(
        122,
        f"{'new' if cpp else 'calloc'}-{copy.name}-{reach}",
        copy.data,
        f"data = {'text(record)' if text else '(int)number(record)'};",
        f"data = {copy.tame};",
        f"{get} {_NEIGHBOUR} {copy.code} KEEP(buffer); value += checksum(buffer, {seen}); free(behind); {release}",
        copy.fine,
        f"!x:{bad}",
        declarations=PAIR,
        cpp=cpp,
    )


def _too_small(name: str, get: str, far: int) -> Flaw:
    """The block is made for the wrong size; nothing is wrong with the copy."""
    return Flaw(
        122,
        f"too-small-{name}",
        "const char *",
        "data = text(record);",
        'data = "tame";',
        f"char *buffer = {get}; {_NEIGHBOUR} strcpy(buffer, data); value = checksum(buffer, strlen(buffer)); "
        "free(behind); free(buffer);",
        "strlen(data) < 8",
        "!x:" + "s" * far,
    )


FLAWS = (
    *(_overrun(copy, reach) for copy in (*TEXT, *NUMBERS) for reach in ("far", "near")),
    *(_overrun(copy, "edge") for copy in NUMBERS if copy.name.startswith(("loop", "memcpy", "memset", "wide"))),
    *(_overrun(copy, reach, cpp=True) for copy in (TEXT[0], NUMBERS[1]) for reach in ("far", "near")),
    _too_small("pointer-size", "(char *)malloc(sizeof(char *))", 400),
    _too_small("strdup", 'strdup("1234567")', 400),
    _too_small("realloc", "(char *)realloc(malloc(100), 8)", 400),
)
"""Flaws of CWE-122."""
