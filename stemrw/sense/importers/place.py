"""From addresses of a process that is long gone to link-time addresses in files.

A text names modules and addresses, but not always where the modules were loaded, and never whether the file at that
path still is the one that ran.  So each load address is a hypothesis: told by the text, usual for the tool, or worked
out from the functions that the text names.  It is believed only if every frame of the module agrees with the file's
code: a return address stands behind a call, any other at the beginning of an instruction, both inside the function that
the text names, if the file has it.  Of a module without a believed load address the function names are all that is
passed on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from stemrw.documents.fault_report import Frame, ModuleInfo
from stemrw.errors import BinaryError
from stemrw.image import Function, Image
from stemrw.sense.code import follows_call
from stemrw.sense.importers.seen import Seen, Surroundings
from stemrw.text import unicode

_PAGE = 4096
_ENOUGH = 2
"""Agreements of frames with the file that make a load address believed; a named function is one, a call another."""
_LARGEST_SEARCHED = 1 << 20
"""Bytes of a function from whose name load addresses are worked out."""
_MODULES = 64
"""Files that are looked into at most."""
_LIBRARIES = 0x7000_0000_0000
"""Where the kernel maps libraries, at the least; programs lie below."""
_TESTED = 64
"""Load addresses that are tested at most, and frames that propose some."""


class Placer:
    """Gives the frames of one source's errors their modules and link-time addresses.

    `program` is the file of the program (or library) in question, where the user names it; it stands for the module of
    its name, or for the program.  `notes` are sentences on what could not be believed.
    """

    def __init__(self, surroundings: Surroundings, stacks: Sequence[Sequence[Seen]], program: Path | None) -> None:
        self.surroundings = surroundings
        self.notes: list[str] = []
        frames = list(dict.fromkeys(frame for stack in stacks for frame in stack))
        names = dict.fromkeys(frame.module for frame in frames if frame.module)
        if surroundings.program:
            names.setdefault(surroundings.program)
        self._meant = _meant(program, list(names), frames, surroundings.program)
        if program is not None:
            names.setdefault(self._meant or str(program))
        self._modules = {name: self._module(name, program) for name in list(names)[:_MODULES]}
        main = self._meant or surroundings.program or _program(frames) or (str(program) if program else "")
        self._main = self._modules.get(main)
        for module in self._modules.values():
            module.place(frames, surroundings)
            shows = module is self._main or any(f.offset is not None and f.module == module.name for f in frames)
            if shows and module.image is not None and module.bias is None:
                self.notes.append(module.doubt())

    def _module(self, name: str, program: Path | None) -> Module:
        mine = program is not None and (name == self._meant or self._meant is None and name == str(program))
        path = os.path.abspath(program) if mine and program is not None else name
        told = self.surroundings.build_ids
        return Module(name, path, told.get(name) or told.get(os.path.basename(name)))

    def frames(self, stack: Sequence[Seen]) -> tuple[Frame, ...]:
        """The frames of a stack, as a report has them."""
        return tuple(self._frame(frame) for frame in stack)

    def identity(self, path: str) -> ModuleInfo:
        """What is certain of the module at a path."""
        module = next((m for m in self._modules.values() if m.shown == path), None)
        return module.identity() if module else ModuleInfo(path=path)

    def program(self, stack: Sequence[Seen]) -> str:
        """Path of the program: as told, or the module of its outermost frames."""
        name = self._meant or self.surroundings.program or _program(stack)
        named = self._modules.get(name) if name else None
        if named is not None:
            return named.shown
        placed = [frame.module for frame in self.frames(stack) if frame.module]
        return placed[-1] if placed else "?"

    def image(self, path: str | None) -> Image | None:
        """The file at a path, if it is believed to be the one that ran."""
        module = next((m for m in self._modules.values() if m.shown == path), None)
        return module.image if module is not None and module.bias is not None else None

    def _frame(self, frame: Seen) -> Frame:
        module = self._modules.get(frame.module) if frame.module else self._around(frame) or self._by_name(frame)
        symbol = unicode(frame.symbol) if frame.symbol else None
        if module is None:
            certain = symbol is not None or not frame.returns
            return Frame(address=frame.pc, symbol=symbol, return_address=frame.returns, certain=certain)
        address = module.address(frame)
        if address is None:
            return Frame(module=module.shown, symbol=symbol, return_address=frame.returns)
        function = module.function(address - frame.returns)
        return Frame(
            module=module.shown,
            address=address,
            symbol=function.symbol if function and function.symbol else symbol,
            function=function.entry if function else None,
            return_address=frame.returns,
        )

    def _around(self, frame: Seen) -> Module | None:
        """The module in whose code a frame is of which the source does not say it."""
        return next((m for m in self._modules.values() if m.bias is not None and m.owns(frame)), None)

    def _by_name(self, frame: Seen) -> Module | None:
        """The program, for a frame of it of which only the function's name is certain."""
        main = self._main
        if main is None or not frame.symbol or (frame.pc is not None and main.bias is not None):
            return None
        if main.image is not None:
            return main if main.image.functions_named(frame.symbol) else None
        return main if frame.pc is not None and frame.pc < _LIBRARIES else None


@dataclass
class Module:
    """A file that the source names.  `bias` is where it was loaded, relative to its link-time addresses; None: not
    known, or not believed."""

    name: str
    path: str
    build_id: str | None = None
    """As the source tells it."""
    bias: int | None = None
    _verified: bool = field(default=False)

    @property
    def shown(self) -> str:
        return unicode(self.path)

    @cached_property
    def image(self) -> Image | None:
        try:
            return Image.open(self.path) if os.path.isabs(self.path) else None
        except BinaryError:
            return None

    def identity(self) -> ModuleInfo:
        """Build-id and hash are the file's where it is believed to be the one that ran, otherwise as told."""
        image = self.image
        if self._verified and image is not None:
            return ModuleInfo(path=self.shown, build_id=image.build_id, sha256=image.sha256)
        return ModuleInfo(path=self.shown, build_id=self.build_id)

    def doubt(self) -> str:
        other = self.build_id is not None and self.image is not None and self.build_id != self.image.build_id
        why = "it has another build-id" if other else "the addresses do not agree with its code"
        return f"{self.shown} is not the file that this is about ({why}): of its frames only function names are used"

    def owns(self, frame: Seen, bias: int | None = None) -> bool:
        """Whether a frame is in this module: as the source says, or by its address."""
        if frame.module is not None:
            return frame.module == self.name
        bias = self.bias if bias is None else bias
        if bias is None or frame.pc is None or self.image is None:
            return False
        return self.image.is_code(frame.pc - bias - frame.returns)

    def address(self, frame: Seen) -> int | None:
        """The frame's link-time address, if it can be believed."""
        if self.bias is not None and frame.pc is not None:
            link = frame.pc - self.bias
            return link if 0 <= link < 1 << 63 else None
        told = self.build_id is not None and (self.image is None or self.build_id != self.image.build_id)
        return frame.offset if told and frame.module == self.name else None

    def function(self, address: int) -> Function | None:
        return self.image.function_at(address) if self.image is not None and self.bias is not None else None

    def place(self, frames: Sequence[Seen], surroundings: Surroundings) -> None:
        """Find the load address."""
        if self.build_id is None:
            self.build_id = next((f.build_id for f in frames if f.module == self.name and f.build_id), None)
        image = self.image
        if image is None or (self.build_id and image.build_id and self.build_id != image.build_id):
            return
        same = self.build_id is not None and self.build_id == image.build_id
        told = list(self._told(image, frames, surroundings))
        if same and len(set(told)) == 1:
            self.bias, self._verified = told[0], True
            return
        for proposed in (told, surroundings.usual, self._worked_out(image, frames)):
            believed = [b for b in dict.fromkeys(proposed) if self._agreements(image, b, frames) >= _ENOUGH]
            if believed:
                if len(believed) == 1:
                    self.bias, self._verified = believed[0], True
                return

    def _told(self, image: Image, frames: Sequence[Seen], surroundings: Surroundings) -> Iterator[int]:
        """From offsets that frames show, from a list of mappings, from a list of libraries."""
        elf = image.elf
        first = elf.loads[0].address & -_PAGE if surroundings.offsets_from_start else 0
        found = Counter(
            f.pc - f.offset - first
            for f in frames
            if f.module == self.name and f.pc is not None and f.offset is not None
        )
        yield from (bias for bias, _ in found.most_common(_TESTED))
        for mapped in surroundings.mappings:
            if _same_path(mapped.path, self.path):
                for segment in elf.code_segments:
                    if segment.offset & -_PAGE == mapped.offset:
                        yield mapped.start - (segment.address - segment.offset + mapped.offset)
        text = elf.section(".text")
        for path, start in surroundings.texts.items():
            if text is not None and _same_path(path, self.path):
                yield start - text.address
        if elf.type == _ET_EXEC:
            yield 0

    def _worked_out(self, image: Image, frames: Sequence[Seen]) -> Iterator[int]:
        """Load addresses at which as many frames as possible are inside the functions that they name."""
        votes: Counter[int] = Counter()
        voters = [f for f in frames if f.pc is not None and f.symbol and f.module in (None, self.name)]
        for frame in voters[:_TESTED]:
            inside = (frame.pc or 0) - frame.returns
            proposed = set()
            for function in image.functions_named(frame.symbol or ""):
                if function.size <= _LARGEST_SEARCHED:
                    lowest = (inside - function.end) // _PAGE * _PAGE + _PAGE
                    proposed |= {b for b in range(lowest, inside - function.entry + 1, _PAGE) if inside - b in function}
            votes.update(proposed)
        most = max(votes.values(), default=0)
        yield from [bias for bias, count in votes.items() if count == most][:_TESTED]

    def _agreements(self, image: Image, bias: int, frames: Sequence[Seen]) -> int:
        """How much speaks for a load address; -1 where anything speaks against it."""
        found = 0
        for frame in frames:
            if frame.pc is None or not self.owns(frame, bias):
                continue
            address = frame.pc - bias
            inside = address - frame.returns
            function = image.function_at(inside) if inside >= 0 and image.is_code(inside) else None
            named = self._is_named(image, function, inside, frame.symbol)
            if named is False or not image.is_code(inside) or not _begins(image, function, address, frame.returns):
                return -1
            found += 1 + (named is True)
        return found

    def _is_named(self, image: Image, function: Function | None, inside: int, symbol: str | None) -> bool | None:
        """Whether the address is in the function that is named; None: the file does not have that name."""
        if not symbol or symbol not in self._known(image, symbol):
            return None
        if any(inside in each for each in self._named[symbol]):
            return True
        return function is not None and (function.symbol or "").partition(".")[0] == symbol.partition(".")[0]

    def _known(self, image: Image, symbol: str) -> dict[str, list[Function]]:
        if symbol not in self._named and symbol not in self._unknown:
            found = image.functions_named(symbol)
            if found:
                self._named[symbol] = found
            else:
                self._unknown.add(symbol)
        return self._named

    @cached_property
    def _named(self) -> dict[str, list[Function]]:
        return {}

    @cached_property
    def _unknown(self) -> set[str]:
        return set()


_ET_EXEC = 2


def _begins(image: Image, function: Function | None, address: int, returns: bool) -> bool:
    """Whether a return address stands behind a call, any other address at the beginning of an instruction."""
    if returns:
        return follows_call(image.elf.read(address - 8, 8))
    return function is None or image.instruction_at(function, address) is not None


def _same_path(one: str, other: str) -> bool:
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def _meant(program: Path | None, names: list[str], frames: Sequence[Seen], told: str | None) -> str | None:
    """Which of the names the user's file stands for; None: none of them."""
    if program is None:
        return None
    for same in (
        lambda name: _same_path(name, str(program)),
        lambda name: os.path.basename(name) == program.name,
    ):
        found = next((name for name in names if same(name)), None)
        if found is not None:
            return found
    return told or _program(frames)


def _program(frames: Sequence[Seen]) -> str | None:
    """The module that holds `main`, or the code before it."""
    for name in ("main", "_start"):
        found = next((f.module for f in frames if f.symbol == name and f.module), None)
        if found is not None:
            return found
    return None
