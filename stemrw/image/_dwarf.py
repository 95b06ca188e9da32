"""What DWARF says about the result type of a function. Nothing else is taken from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

ResultKind = Literal["void", "bool", "signed", "unsigned", "pointer", "float", "double", "aggregate", "other"]

_BOOL, _FLOAT, _SIGNED, _SIGNED_CHAR = 0x02, 0x04, 0x05, 0x06
_WRAPPERS = {"DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_atomic_type"}
_SEARCHED = 4 << 20
"""Bytes of debug information that are searched through where no table of addresses (.debug_aranges) leads into it."""
_READ = 256 << 20
"""Bytes of debug information, unpacked, that are read into memory at all."""
_SECTIONS = 1000
"""Sections that a linked file may have."""
_ENTRIES = 100_000
"""Entries of one unit that are looked at."""
_POINTERS = {"DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"}
_AGGREGATES = {"DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type", "DW_TAG_array_type"}


@dataclass(frozen=True, slots=True)
class ResultType:
    """Declared result of a function: what kind, how many bytes, and its name as the source has it."""

    kind: ResultKind
    size: int
    name: str


def result_type(path: str, entry: int) -> ResultType | None:
    """Declared result type of the function at `entry`; None where the file has no DWARF for it."""
    from elftools.common.exceptions import DWARFError, ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with open(path, "rb") as stream:
            elf = ELFFile(stream)
            if not _readable(elf):
                return None
            die = _subprogram(elf.get_dwarf_info(relocate_dwarf_sections=False), entry)
            return None if die is None else _result(die)
    except (OSError, ELFError, DWARFError, KeyError, ValueError, AttributeError, AssertionError, IndexError, TypeError):
        return None  # broken or split debug information is no reason not to patch: other evidence is used


def _readable(elf: Any) -> bool:
    """Whether there is debug information of a size that can be read.

    Compressed sections are unpacked to what their headers say and no further; those of the old form (`.zdebug_info`,
    not written any more) have no such bound.
    """
    if not elf.has_dwarf_info() or elf.num_sections() > _SECTIONS or elf.has_section(".zdebug_info"):
        return False
    sizes = (part.data_size for part in elf.iter_sections() if part.name.startswith(".debug_"))
    return bool(sum(sizes) <= _READ)


def _subprogram(dwarf: Any, entry: int) -> Any:
    aranges = dwarf.get_aranges()
    offset = aranges.cu_offset_at_addr(entry) if aranges is not None else None
    if offset is None and dwarf.debug_info_sec.size > _SEARCHED:
        return None
    units = [dwarf.get_CU_at(offset)] if offset is not None else dwarf.iter_CUs()
    for unit in units:
        if offset is None and not _may_hold(dwarf, unit.get_top_DIE(), entry):
            continue
        for die in islice(unit.iter_DIEs(), _ENTRIES):
            if die.tag == "DW_TAG_subprogram":
                low = die.attributes.get("DW_AT_low_pc")
                if low is not None and low.value == entry:
                    return die
    return None


def _may_hold(dwarf: Any, top: Any, entry: int) -> bool:
    """Whether the code of a unit can include an address."""
    low, high, ranges = (top.attributes.get(f"DW_AT_{name}") for name in ("low_pc", "high_pc", "ranges"))
    if ranges is not None and top.cu.header.version < 5:
        base = low.value if low is not None else 0
        for part in dwarf.range_lists().get_range_list_at_offset(ranges.value):
            if not hasattr(part, "begin_offset"):
                base = part.base_address
            elif base + part.begin_offset <= entry < base + part.end_offset:
                return True
        return False
    if low is None or high is None:
        return True
    end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
    return bool(low.value <= entry < end)


def _attribute_die(die: Any, name: str) -> Any:
    return die.get_DIE_from_attribute(name) if name in die.attributes else None


def _result(die: Any) -> ResultType | None:
    # An out-of-line instance names its declaration; the type stands there.
    for _ in range(4):
        if "DW_AT_type" in die.attributes:
            break
        parent = _attribute_die(die, "DW_AT_abstract_origin") or _attribute_die(die, "DW_AT_specification")
        if parent is None:
            # C and C++ leave the type out for void; other languages are not that clear.
            return ResultType("void", 0, "void")
        die = parent
    return _classify(_attribute_die(die, "DW_AT_type"))


def _name(die: Any) -> str:
    attribute = die.attributes.get("DW_AT_name")
    return attribute.value.decode("utf-8", "replace") if attribute is not None else ""


def _classify(die: Any) -> ResultType | None:
    name = ""
    for _ in range(32):
        if die is None:
            return ResultType("void", 0, name or "void")
        name = name or _name(die)
        if die.tag not in _WRAPPERS:
            break
        die = _attribute_die(die, "DW_AT_type")
    size = die.attributes["DW_AT_byte_size"].value if "DW_AT_byte_size" in die.attributes else 8
    if die.tag in _POINTERS:
        target = _attribute_die(die, "DW_AT_type")
        return ResultType("pointer", 8, name or f"{_name(target) if target is not None else 'void'} *")
    if die.tag in _AGGREGATES:
        return ResultType("aggregate", size, name)
    if die.tag == "DW_TAG_enumeration_type":
        return ResultType("unsigned", size, name or "enum")
    if die.tag != "DW_TAG_base_type":
        return ResultType("other", size, name)
    encoding = die.attributes["DW_AT_encoding"].value
    if encoding == _BOOL:
        return ResultType("bool", size, name)
    if encoding == _FLOAT:
        return ResultType("double" if size == 8 else "float" if size == 4 else "other", size, name)
    return ResultType("signed" if encoding in (_SIGNED, _SIGNED_CHAR) else "unsigned", size, name)
