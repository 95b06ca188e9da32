"""Read-only view of one ELF file: its functions, their code, their callers and what they return."""

from stemrw.image._cfi import unwind_table
from stemrw.image._code import Instruction
from stemrw.image._dwarf import ResultType
from stemrw.image._function import Function, Owner
from stemrw.image._image import Image
from stemrw.image._returns import NEVER_RETURN
from stemrw.image._symbols import debug_file

__all__ = ["NEVER_RETURN", "Function", "Image", "Instruction", "Owner", "ResultType", "debug_file", "unwind_table"]
