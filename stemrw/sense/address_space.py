"""Which module is where in a stopped process, and the way from its addresses to link-time addresses."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from stemrw.errors import BinaryError
from stemrw.sense.module import Module
from stemrw.sense.process import Mapping
from stemrw.sense.snapshot import Snapshot


@dataclass(frozen=True)
class Place:
    """A link-time address in a module."""

    module: Module
    address: int


class AddressSpace:
    """The code of a snapshot's process."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._mappings = snapshot.mappings
        self._starts = [mapping.start for mapping in self._mappings]
        self.modules: dict[str, Module] = {}
        """By the path that the mapping names."""
        self.biases: dict[str, int] = {}
        for path, descriptor in snapshot.files.items():
            try:
                self.modules[path] = Module(path.removesuffix(" (deleted)"), descriptor)
            except (BinaryError, ValueError, OSError):
                continue  # code mapped from something that is no ELF file
        for mapping in self._mappings:
            module = self.modules.get(mapping.path)
            bias = module.bias(mapping.start, mapping.offset) if module and mapping.executable else None
            if bias is not None:
                self.biases.setdefault(mapping.path, bias)

    def mapping(self, address: int) -> Mapping | None:
        index = bisect_right(self._starts, address) - 1
        return self._mappings[index] if index >= 0 and address in self._mappings[index] else None

    def is_code(self, address: int) -> bool:
        mapping = self.mapping(address)
        return mapping is not None and mapping.executable

    def place(self, address: int) -> Place | None:
        """Where an address of the process is in its module; None: in no file's code."""
        mapping = self.mapping(address)
        module = self.modules.get(mapping.path) if mapping and mapping.executable else None
        if mapping is None or module is None:
            return None
        link = module.code_address(address - mapping.start + mapping.offset)
        return Place(module, link) if link is not None else None
