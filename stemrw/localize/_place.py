"""A place in the code, as users write it: a number, or a symbol of any kind, perhaps with a number added."""

from __future__ import annotations

import re

from stemrw.errors import LocalizationError, UsageError
from stemrw.image import Image

_NUMBER = r"0[xX][0-9a-fA-F]{1,16}|0|[1-9]\d{0,19}"
_PLACE = re.compile(rf"(?P<address>{_NUMBER})|(?P<symbol>[^\s+\d][^\s+]*)(\+(?P<offset>{_NUMBER}))?")


def place(text: str, image: Image) -> int:
    """The address of `0x1234`, `work` or `work+0x20`.

    Raises UsageError: not of this form. LocalizationError: no symbol has this name, or several have.
    """
    match = _PLACE.fullmatch(text.strip())
    numbers = [number for number in (match["address"], match["offset"]) if number] if match else []
    if match is None or any(int(number, 0) >> 48 for number in numbers):
        raise UsageError(f"{text.strip()!r} is no address", hint="such as 0x1234, or work+0x20")
    if match["address"]:
        return int(match["address"], 0)
    found = image.places_named(match["symbol"])
    if len(found) != 1:
        what = "several symbols are" if found else "no symbol is"
        raise LocalizationError(f"{what} called {match['symbol']!r}", file=image.path, hint="give an address")
    return found[0] + int(match["offset"] or "0", 0)
