"""`--require`: a fault that no sensor recognises, said by the user as what must hold at an instruction."""

from __future__ import annotations

from stemrw.documents.fault_report import FaultReport, Location, ModuleInfo
from stemrw.documents.predicate import PredicateError, parse
from stemrw.errors import UsageError
from stemrw.image import Image
from stemrw.localize._place import place


def required(text: str, image: Image) -> FaultReport:
    """The report of `ADDR: EXPR`; ADDR is a number, or SYMBOL+OFFSET.

    Raises UsageError: it cannot be read. LocalizationError: there is no such symbol.
    """
    where, colon, condition = text.partition(":")
    if not colon:
        raise UsageError(f"--require {text!r} cannot be read", hint="ADDR: EXPR, such as 0x4d6e: rdi < 64")
    condition = condition.strip()
    try:
        parse(condition)
    except PredicateError as error:
        raise UsageError(f"--require: {error}", hint="docs/checks.md describes the language") from None
    module = ModuleInfo(path=str(image.path), sha256=image.sha256)
    pc = Location(module=module.path, address=place(where, image))
    return FaultReport(
        fault_class="predicate", program=module, modules=(module,), pc=pc, predicate=condition, sensor="--require"
    )
