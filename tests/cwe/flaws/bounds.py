"""CWE-124, 126 and 127: before the beginning of a buffer, and reading beyond either end."""

from __future__ import annotations

from cwe.model import Flaw

_STACK = "char buffer[64]; memset(buffer, 'b', sizeof buffer); buffer[63] = 0;"
_HEAP = "char *buffer = (char *)malloc(64); memset(buffer, 'b', 64); buffer[63] = 0;"
_PLACES = (("stack", _STACK, ""), ("heap", _HEAP, " free(buffer);"))


def _flaws(cwe: int, name: str, code: str, fine: str, far: str, near: str | None, tame: str = "3") -> list[Flaw]:
    good = ("alpha:0", "beta:0") if tame == "0" else ("alpha:3", "beta:5")
    reaches = [("far", far)] + ([("near", near)] if near else [])
    return [
        Flaw(
            cwe,
            f"{place}-{name}-{reach}",
            "long",
            "data = number(record);",
            f"data = {tame};",
            f"{room} {code}{release}",
            fine,
            f"!x:{bad}",
            good,
        )
        for place, room, release in _PLACES
        for reach, bad in reaches
    ]


_SEEN = "value += checksum(buffer, 64);"

_UNDERWRITES = (
    *_flaws(124, "index", f"buffer[data] = 'i'; {_SEEN}", "data >= 0 && data < 64", "-900000000", "-8"),
    *_flaws(
        124,
        "decrement",
        f"char *at = buffer + 8; for (long i = 0; i < data; i++) *at-- = 'd'; {_SEEN}",
        "data <= 9",
        "900000000",
        "24",
    ),
    *_flaws(
        124,
        "memset",
        f"memset(buffer + 16 - data, 'm', (size_t)data); {_SEEN}",
        "data >= 0 && data <= 16",
        "90000000",
        "40",
    ),
    *_flaws(124, "strcpy", f'strcpy(buffer + data, "written"); {_SEEN}', "data >= 0 && data < 50", "-800000000", "-16"),
    *_flaws(
        124,
        "words",
        f"long *words = (long *)buffer; words[data] = 0x4242424242424242; {_SEEN}",
        "data >= 0 && data < 8",
        "-90000000",
        "-1",
    ),
)

_OVERREADS = (
    *_flaws(126, "index", "value = buffer[data] & 1;", "data >= 0 && data < 64", "1900000000", "90"),
    *_flaws(
        126,
        "loop",
        "for (long i = 0; i < data; i++) value += buffer[i]; value &= 1;",
        "data <= 64",
        "900000000",
        "80",
    ),
    *_flaws(126, "memcpy", "memcpy(large_room, buffer, (size_t)data); value = 1;", "data <= 64", "30000000", "80"),
    *_flaws(
        126,
        "memcmp",
        "value = memcmp(buffer + data, letters, 64) > 0;",
        "data >= 0 && data < 1",
        "900000000",
        "8",
        tame="0",
    ),
    *_flaws(
        126,
        "strlen",
        "value = (long)strlen(buffer + data) > 0;",
        "data >= 0 && data < 64",
        "1700000000",
        "70",
    ),
    *_flaws(
        126,
        "words",
        "long *words = (long *)buffer; long top = 0; for (long i = 0; i < data; i++) "
        "if (words[i] > top) top = words[i]; value = top != 0;",
        "data <= 8",
        "90000000",
        "10",
    ),
)

_UNDERREADS = (
    *_flaws(127, "index", "value = buffer[data] & 1;", "data >= 0 && data < 64", "-900000000", "-9"),
    *_flaws(
        127,
        "decrement",
        "const char *at = buffer + 63; for (long i = 0; i < data; i++) value += *at--; value &= 1;",
        "data <= 64",
        "900000000",
        "70",
    ),
    *_flaws(
        127,
        "memcpy",
        "memcpy(large_room, buffer - data, (size_t)data); value = 1;",
        "data <= 0",
        "30000000",
        "24",
        tame="0",
    ),
    *_flaws(127, "strchr", "value = strchr(buffer + data, 'b') != NULL;", "data >= 0 && data < 63", "-900000000", "-9"),
    *_flaws(
        127,
        "double",
        "double *numbers = (double *)buffer; value = numbers[data] > 0;",
        "data >= 0 && data < 8",
        "-90000000",
        "-3",
    ),
)

FLAWS = (*_UNDERWRITES, *_OVERREADS, *_UNDERREADS)
"""Flaws of CWE-124, 126 and 127."""
