"""The ELF container, x86-64 only: headers, segments, sections, notes, the dynamic section; what is read can be packed.

Written by hand rather than on top of a library: what is written back must be exactly what was there, it works without
section headers, costs a fraction of a millisecond, and says what is wrong with a bad file. Nothing here decodes code.
"""

from stemrw.elf._branches import branch_candidates, branches_into
from stemrw.elf._dynamic import (
    R_X86_64_64,
    R_X86_64_COPY,
    R_X86_64_GLOB_DAT,
    R_X86_64_IRELATIVE,
    R_X86_64_JUMP_SLOT,
    R_X86_64_RELATIVE,
    RelativePointers,
    Relocation,
    bound_to,
    dynamic_symbols,
    relocations,
    relr_places,
)
from stemrw.elf._file import Elf, c_string, read_binary
from stemrw.elf._headers import Section, Segment, align
from stemrw.elf._symbols import SymbolEntry, SymbolTable, symbol_table

__all__ = [
    "R_X86_64_64",
    "R_X86_64_COPY",
    "R_X86_64_GLOB_DAT",
    "R_X86_64_IRELATIVE",
    "R_X86_64_JUMP_SLOT",
    "R_X86_64_RELATIVE",
    "Elf",
    "RelativePointers",
    "Relocation",
    "Section",
    "Segment",
    "SymbolEntry",
    "SymbolTable",
    "align",
    "bound_to",
    "branch_candidates",
    "branches_into",
    "c_string",
    "dynamic_symbols",
    "read_binary",
    "relocations",
    "relr_places",
    "symbol_table",
]
