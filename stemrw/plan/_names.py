"""What a function's name says about its result, where it says something for certain or nearly so."""

from __future__ import annotations

import re
from typing import Literal

_PART = re.compile(r"(\d+)")
_TEMPLATE = re.compile(r"I.*E(?=(C[123]|D[012])E)")
_PREDICATE = re.compile(r"^(is|has|can|should|contains|empty|exists|equals?|matches)(?=$|_|[A-Z0-9])")


def said_by_name(symbol: str | None) -> tuple[Literal["void", "bool"], str] | None:
    """(kind of result, why) of a function by its symbol; None where the name says nothing.

    Constructors and destructors of C++ return nothing; a predicate (`is_empty`, `hasNext`) returns a truth value.
    """
    if not symbol:
        return None
    parts, rest = _cxx_parts(symbol)
    rest = _TEMPLATE.sub("", rest, count=1) if rest.startswith("I") else rest
    if rest[:2] in ("C1", "C2", "C3", "D0", "D1", "D2") and parts:
        which = "constructor" if rest[0] == "C" else "destructor"
        return "void", f"{'::'.join(parts)} is a {which}: it returns nothing"
    if rest.startswith("cvb") and parts:
        return "bool", f"{'::'.join(parts)} converts to bool: it returns a truth value"
    name = parts[-1] if parts else symbol
    if not symbol.startswith("_Z") or parts:
        match = _PREDICATE.match(name)
        if match is not None:
            return "bool", f"{name} is named as a predicate"
    return None


def _cxx_parts(symbol: str) -> tuple[list[str], str]:
    """The plain identifiers of a mangled name, and what follows the last of them."""
    if not symbol.startswith("_Z"):
        return [], ""
    rest = symbol[2:].removeprefix("N").lstrip("KVr").removeprefix("St")
    parts: list[str] = []
    while (match := _PART.match(rest)) is not None:
        size = int(match[1])
        rest = rest[match.end() :]
        if not 0 < size <= len(rest):
            return [], ""
        parts.append(rest[:size])
        rest = rest[size:]
    return parts, rest
