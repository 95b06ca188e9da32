"""Predicates: what must hold at an instruction, as a rule of the region in which a violation is rescued."""

from __future__ import annotations

from stemrw.documents.localization import Localization
from stemrw.documents.rules import Predicate
from stemrw.errors import LocalizationError
from stemrw.image import Function, Image, Instruction


def predicate_rules(localization: Localization, image: Image) -> tuple[Predicate, ...]:
    """The rule of a localized fault of class `predicate`; none for other faults.

    Raises LocalizationError: the address is not in the code of this file, or no instruction begins there.
    """
    if localization.predicate is None:
        return ()
    address = localization.fault_pc
    owner = image.owner(address) if address is not None else None
    if address is None or owner is None:
        raise LocalizationError(
            "the instruction before which the predicate must hold is not in this file",
            file=image.path,
            hint="patch the file that holds it",
        )
    body = image.whole_body(owner.function)
    found = next((instruction for instruction in body if instruction.address == address), None)
    if found is None:
        raise LocalizationError(
            f"no instruction of {owner.function} begins here{_near(address, body)}", file=image.path, address=address
        )
    why = f"must hold before `{found}`: {localization.predicate}"
    return (Predicate(address=_behind_landing(found, owner.function), require=localization.predicate, why=why),)


def _near(address: int, body: tuple[Instruction, ...]) -> str:
    around = next((i for i in body if i.address < address < i.end), None)
    return f": it is inside of `{around}` at {around.address:#x}" if around is not None else ""


def _behind_landing(found: Instruction, function: Function) -> int:
    """An endbr64 at the entry is executed before the region begins: what holds before it holds behind it."""
    return found.end if found.mnemonic == "endbr64" and found.address == function.entry else found.address
