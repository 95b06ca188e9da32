"""`--require`: a fault that no sensor recognises, said by the user as what must hold at an instruction."""

from __future__ import annotations

import re

from stemrw.documents.fault_report import FaultReport, Location, ModuleInfo
from stemrw.documents.predicate import PredicateError, parse
from stemrw.errors import LocalizationError, UsageError
from stemrw.image import Image

_NUMBER = r"0[xX][0-9a-fA-F]{1,16}|\d{1,20}"
_PLACE = re.compile(rf"(?P<address>{_NUMBER})|(?P<symbol>[^\s+]+)(\+(?P<offset>{_NUMBER}))?")


def required(text: str, image: Image) -> FaultReport:
    """The report of `ADDR: EXPR`; ADDR is a number, or SYMBOL+OFFSET.

    Raises UsageError: it cannot be read. LocalizationError: there is no such function.
    """
    place, colon, condition = text.partition(":")
    match = _PLACE.fullmatch(place.strip())
    if not colon or match is None:
        raise UsageError(f"--require {text!r} cannot be read", hint="ADDR: EXPR, such as 0x4d6e: rdi < 64")
    condition = condition.strip()
    try:
        parse(condition)
    except PredicateError as error:
        raise UsageError(f"--require: {error}", hint="docs/checks.md describes the language") from None
    module = ModuleInfo(path=str(image.path), sha256=image.sha256)
    where = Location(module=module.path, address=_address(match, image))
    return FaultReport(
        fault_class="predicate", program=module, modules=(module,), pc=where, predicate=condition, sensor="--require"
    )


def _address(match: re.Match[str], image: Image) -> int:
    if match["address"]:
        return int(match["address"], 0)
    found = image.functions_named(match["symbol"])
    if len(found) != 1:
        what = "several functions are" if found else "no function is"
        raise LocalizationError(f"{what} called {match['symbol']!r}", file=image.path, hint="give an address")
    return found[0].entry + int(match["offset"] or "0", 0)
