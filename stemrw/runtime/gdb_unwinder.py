"""Teaches gdb to see through the code cache of hardened programs, in live processes and in core dumps.

    (gdb) source .../stemrw/runtime/gdb_unwinder.py

Emulated code runs from generated memory that no symbol and no unwind information covers, so the innermost frame of a
thread that is inside a region is a bare number, and gdb has to guess the next one.  But all else is as it was: the
stack and the return addresses are the program's own, and so are the registers (while the runtime's C code runs, they
are in the thread's context).  So it is enough to tell gdb which original instruction the number stands for: it becomes
an outer frame of its own, "[stemrw]", which the original function seems to have called.

    gs base → struct context → struct state → struct runtime → struct cache → units → source map of one unit

Layouts are read from the description of the runtime image beside this file, so file and script must be of one version.
Nothing in the process is written.  gdb's Python may be as old as 3.8.
"""

from __future__ import annotations

import bisect
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gdb  # type: ignore[import-untyped]
import gdb.frames  # type: ignore[import-untyped]
import gdb.unwinder  # type: ignore[import-untyped]
from gdb.FrameDecorator import FrameDecorator  # type: ignore[import-untyped]

_DESCRIPTION = json.loads((Path(__file__).parent / "image-x86_64.json").read_bytes())
_CONSTANTS, _STRUCTS = _DESCRIPTION["constants"], _DESCRIPTION["structs"]
_ORDER = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{i}" for i in range(8, 16)))
"""As struct registers has them."""


class _Unit(NamedTuple):
    code: int
    end: int
    source: int
    map: int
    map_count: int


def _read(address: int, size: int) -> bytes:
    return bytes(gdb.selected_inferior().read_memory(address, size))


def _fields(name: str, address: int) -> dict[str, int]:
    """The fields of a struct that are up to 8 bytes large."""
    layout = _STRUCTS[name]
    data = _read(address, layout["size"])
    return {
        part: int.from_bytes(data[at : at + size], "little")
        for part, (at, size) in layout["fields"].items()
        if size <= 8
    }


class _Thread:
    """The runtime as one thread sees it."""

    def __init__(self, context: int) -> None:
        """Raises gdb.error, gdb.MemoryError or LookupError where `context` is no context of a hardened program."""
        self.context = _fields("context", context)
        if self.context["self"] != context:
            raise LookupError("not a context")
        state = _fields("state", self.context["state"])
        if state["magic"] != _CONSTANTS["STATE_MAGIC"] or state["abi_version"] != _CONSTANTS["ABI_VERSION"]:
            raise LookupError("not this version's state")
        cache = _fields("cache", _fields("runtime", state["runtime"])["cache"])
        self._units = _units(cache["units"], cache["unit_count"])

    def source(self, pc: int) -> int | None:
        """The original instruction that code at `pc` in the cache stands for."""
        at = bisect.bisect_right([unit.code for unit in self._units], pc) - 1
        if at < 0 or pc >= self._units[at].end:
            return None
        unit = self._units[at]
        entries = list(struct.iter_unpack("<Ii", _read(unit.map, unit.map_count * _STRUCTS["source_map"]["size"])))
        offsets = (1 << _CONSTANTS["SOURCE_KIND_SHIFT"]) - 1
        entry = bisect.bisect_right([code & offsets for code, _ in entries], pc - unit.code) - 1
        return unit.source + entries[entry][1] if entry >= 0 else None

    def on_private_stack(self, rsp: int) -> bool:
        """Whether the runtime's C code runs."""
        start = self.context["self"]
        return bool(start + _CONSTANTS["STACK_OFFSET"] <= rsp <= start + _CONSTANTS["STACK_TOP_OFFSET"])

    def saved(self) -> dict[str, int]:
        """The program's registers while the runtime's C code runs."""
        start = self.context["self"] + _STRUCTS["context"]["fields"]["registers"][0]
        values = struct.unpack("<16Q", _read(start, 128))
        return {name: values[number] for number, name in enumerate(_ORDER)}

    def going_to(self) -> int:
        """Where the program is while the runtime's C code runs, or is about to be."""
        return self.source(self.context["resume"]) or self.context["target"]


def _units(table: int, count: int) -> list[_Unit]:
    layout = _STRUCTS["unit"]
    data = _read(table, count * layout["size"])

    def field(base: int, name: str) -> int:
        at, size = layout["fields"][name]
        return int.from_bytes(data[base + at : base + at + size], "little")

    bases = range(0, len(data), layout["size"])
    return sorted(_Unit(*(field(base, name) for name in _Unit._fields)) for base in bases)


class _FrameId(NamedTuple):
    """What gdb tells frames apart by: values, not numbers."""

    sp: Any
    pc: Any


class _Unwinder(gdb.unwinder.Unwinder):  # type: ignore[misc]
    """cache → the original instruction, all registers as they are; private stack → as they were saved."""

    def __init__(self) -> None:
        super().__init__("stemrw")

    def __call__(self, pending: Any) -> Any:
        try:
            return self._unwind(pending)
        except (gdb.error, gdb.MemoryError, LookupError, ValueError):
            return None  # not a hardened program, or memory that a core dump does not hold: gdb's own ways

    def _unwind(self, pending: Any) -> Any:
        def register(name: str) -> int:
            return int(pending.read_register(name)) & (1 << 64) - 1

        thread = _Thread(register("gs_base"))
        pc, rsp = register("rip"), register("rsp")
        source, registers = thread.source(pc), {}
        if source is None and thread.on_private_stack(rsp):
            source, registers = thread.going_to(), thread.saved()
        if source is None:
            return None
        word = pending.read_register("rsp").type
        unwound = pending.create_unwind_info(_FrameId(pending.read_register("rsp"), pending.read_register("rip")))
        for name in _ORDER:
            value = gdb.Value(registers[name]).cast(word) if name in registers else pending.read_register(name)
            unwound.add_saved_register(name, value)
        # gdb takes the pc of an outer frame for a return address, and looks one byte lower.
        length = pending.architecture().disassemble(source)[0]["length"]
        unwound.add_saved_register("rip", gdb.Value(source + length).cast(word))
        return unwound


class _Decorator(FrameDecorator):  # type: ignore[misc]
    def function(self) -> str:
        return "[stemrw]"


class _Filter:
    """Names the frames that the unwinder made."""

    def __init__(self) -> None:
        self.name, self.priority, self.enabled = "stemrw", 100, True
        gdb.frame_filters[self.name] = self

    def filter(self, frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            yield _Decorator(frame) if _is_ours(frame.inferior_frame()) else frame


def _is_ours(frame: Any) -> bool:
    try:
        thread = _Thread(int(frame.read_register("gs_base")))
        return thread.source(frame.pc()) is not None or thread.on_private_stack(int(frame.read_register("rsp")))
    except (gdb.error, gdb.MemoryError, LookupError, ValueError):
        return False


gdb.unwinder.register_unwinder(None, _Unwinder(), replace=True)
_Filter()
