"""Can this file be patched?  What it is, which of its functions can be made survivable, what stands in the way."""

from stemrw.inspect._file import FileFacts, file_facts
from stemrw.inspect._inspect import Step, inspect
from stemrw.inspect._obstacles import codes

__all__ = ["FileFacts", "Step", "codes", "file_facts", "inspect"]
