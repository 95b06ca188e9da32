"""`Image`: one ELF file as localization and planning see it — functions, their parts, their callers, their results.

Nothing is computed before it is asked for, and no code is decoded but that of the functions in question, so a file of
ten megabytes costs little more than its hash.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from stemrw.elf import Elf, RelativePointers, branches_into
from stemrw.image._cfi import UnwindTable, unwind_table
from stemrw.image._code import Instruction, decode
from stemrw.image._dwarf import ResultType, result_type
from stemrw.image._function import Function, Owner
from stemrw.image._owners import Owners
from stemrw.image._returns import Returns
from stemrw.image._symbols import DEBUG_ROOT, FunctionSymbols, copied, debug_file, exports, imports, labels

_MAXIMUM_GAP = 1 << 20


class Image:
    """Read-only view of one ELF file. Raises BinaryError where the file is not a usable x86-64 ELF file.

    All addresses are link-time virtual addresses.
    """

    def __init__(self, elf: Elf, *, debug_root: Path = DEBUG_ROOT, hardened_sha256: str | None = None) -> None:
        """`hardened_sha256` is that of the hardened file of which this is the original: reports may be about it."""
        self.elf = elf
        self._hardened_sha256 = hardened_sha256
        self.path = Path(elf.path or "")
        self._debug_root = debug_root
        self._bodies: dict[int, tuple[Instruction, ...]] = {}
        self._whole_bodies: dict[int, tuple[Instruction, ...]] = {}
        self._returns = Returns(self)
        self._owners = Owners(self)
        self._parents: dict[int, Owner] = {}
        self._candidates: dict[int, list[tuple[int, int]]] = {}

    @classmethod
    def open(cls, path: Path | str, *, debug_root: Path = DEBUG_ROOT) -> Image:
        """Look at a file. `debug_root` is where separate debug files are installed by build-id."""
        return cls(Elf.open(path), debug_root=debug_root)

    @cached_property
    def sha256(self) -> str:
        return self.elf.sha256

    def has_hash(self, sha256: str) -> bool:
        """Whether a sha256 is this file's, or that of the same file in its hardened form."""
        return sha256 in (self.sha256, self._hardened_sha256)

    @property
    def build_id(self) -> str | None:
        return self.elf.build_id

    @property
    def is_program(self) -> bool:
        return self.elf.is_program

    def is_code(self, address: int) -> bool:
        """Whether an address lies in an executable segment."""
        return self.elf.is_code(address)

    # Functions

    @cached_property
    def _unwind(self) -> UnwindTable:
        return unwind_table(self.elf)

    @cached_property
    def _symbols(self) -> FunctionSymbols:
        return FunctionSymbols(self.elf, self._debug_root)

    def function_at(self, address: int) -> Function | None:
        """The range of code with its own unwind entry or symbol that covers an address; may be a fragment."""
        fde = self._unwind.at(address)
        if fde is not None and fde.size:
            symbol = self._symbols.at(fde.start)
            name = symbol.name if symbol else None
            cold = name is not None and ".cold" in name
            return Function(fde.start, fde.size, name, ".eh_frame", fragment=cold or not fde.starts_as_function)
        found = self._symbols.covering(address)
        if found is not None and self.elf.is_code(found.address + found.size - 1):  # a size may be any number
            return Function(found.address, found.size, found.name, found.table, fragment=".cold" in found.name)
        return self._unlisted(address)

    def _unlisted(self, address: int) -> Function | None:
        """Code without unwind entry and sized symbol: from the nearest named or entry address below up to the next."""
        starts = sorted({*self._symbols.addresses, *filter(None, (self.elf.entry, self._main_at_entry))})
        i = bisect_right(starts, address) - 1
        if i < 0 or not self.is_code(address) or not self.is_code(starts[i]):
            return None
        limit = [starts[i] + _MAXIMUM_GAP]
        limit += starts[i + 1 : i + 2]
        following = self._unwind.next_start(starts[i])
        limit += [following] if following is not None else []
        limit += [s.address + s.memory_size for s in self.elf.code_segments if s.holds(starts[i])]
        if address >= min(limit):
            return None
        symbol = self._symbols.at(starts[i])
        name, source = (symbol.name, symbol.table) if symbol else (None, "entry point")
        return Function(starts[i], min(limit) - starts[i], name, source)

    def functions(self) -> Iterator[Function]:
        """Every function and fragment that has an unwind entry or a symbol in the code, each once, by address."""
        last = -1
        for start in sorted({*self._unwind.starts, *self._symbols.addresses}):
            function = self.function_at(start) if self.is_code(start) else None
            if function is not None and function.entry > last:
                last = function.entry
                yield function

    def name_source(self, function: Function) -> str | None:
        """Which table knows the function's name: `.symtab`, `.dynsym`, `.gnu_debugdata` or a debug file; or None."""
        symbol = self._symbols.at(function.entry)
        return symbol.table if symbol is not None else None

    def functions_named(self, name: str) -> list[Function]:
        """All functions with a name; `main` is also found in stripped programs."""
        found = [f for f in map(self.function_at, self._symbols.named(name)) if f is not None]
        if not found and name == "main" and self.main is not None:
            found = [self.main]
        return found

    def places_named(self, name: str) -> list[int]:
        """Where the functions with a name begin; where there is none, the labels in the code with that name."""
        found = [address for address in self._symbols.named(name) if self.is_code(address)]
        if not found and name == "main" and self.main is not None:
            found = [self.main.entry]
        return found or [address for address in labels(self.elf, name) if self.is_code(address)]

    @cached_property
    def main(self) -> Function | None:
        """The program's `main`: by symbol, else from what the entry point hands to `__libc_start_main`."""
        for address in self._symbols.named("main"):
            return self.function_at(address)
        candidate = self._main_at_entry
        function = self.function_at(candidate) if candidate is not None else None
        if function is None or function.entry != candidate:
            return None
        return Function(function.entry, function.size, function.symbol or "main", function.source)

    @cached_property
    def _main_at_entry(self) -> int | None:
        """What the entry point hands to `__libc_start_main`."""
        if not self.is_program or not self.is_code(self.elf.entry):
            return None
        candidate = None
        for instruction in decode(self.elf.read(self.elf.entry, 96), self.elf.entry):
            if instruction.is_call or instruction.is_stop:
                break
            destination, _, source = instruction.operands.partition(", ")
            if destination in ("rdi", "edi"):
                candidate = self._constant(instruction, source)
        return candidate if candidate is not None and self.is_code(candidate) else None

    def _constant(self, instruction: Instruction, source: str) -> int | None:
        """The address that `lea`, `mov imm` or a load from the GOT puts into a register."""
        pointed = instruction.pointed
        if instruction.mnemonic == "lea":
            return pointed
        if instruction.mnemonic in ("mov", "movabs") and pointed is not None:
            return self.pointers.at(pointed) or self.elf.word(pointed)
        return int(source, 0) if source[:1].isdigit() else None

    # Fragments

    def owner(self, address: int) -> Owner | None:
        """The function an address belongs to, `.cold` parts mapped to the function they were split from."""
        function = self.function_at(address)
        if function is None:
            return None
        known = self._parents.get(function.entry)
        if known is None:
            known = self._parents[function.entry] = self._owners.find(function)
        return known

    def references(self, part: Function) -> Iterator[tuple[Instruction, int, Function]]:
        """Direct branches into a part by address: the instruction, its target and the function that holds it."""
        candidates = self._candidates.get(part.entry)
        if candidates is None:  # the whole text is searched: once for each function that is asked about
            candidates = self._candidates[part.entry] = sorted(branches_into(self.elf, part.entry, part.end))
        for site, target in candidates:
            function = self.function_at(site)
            if function is None:
                continue
            instruction = self.instruction_at(function, site)
            if instruction is not None and instruction.target == target:
                yield instruction, target, function

    # Code

    def body(self, function: Function) -> tuple[Instruction, ...]:
        """All instructions of a function or fragment in address order."""
        if function.entry not in self._bodies:
            code = self.elf.read(function.entry, function.size)
            self._bodies[function.entry] = tuple(decode(code, function.entry))
        return self._bodies[function.entry]

    def whole_body(self, function: Function) -> tuple[Instruction, ...]:
        """The function with the parts that were split off it."""
        known = self._whole_bodies.get(function.entry)
        if known is None:
            known = self._whole_bodies[function.entry] = tuple(self._gathered(function))
        return known

    def _gathered(self, function: Function) -> list[Instruction]:
        found = list(self.body(function))
        seen = {function.entry}
        for instruction in self.body(function):
            target = instruction.target
            if target is None or instruction.is_call or target in function:
                continue
            part = self.function_at(target)
            if part is not None and part.entry not in seen and (part.fragment or target != part.entry):
                seen.add(part.entry)
                found += self.body(part)
        return found

    def instruction_at(self, function: Function, address: int) -> Instruction | None:
        """The instruction that starts at an address; None where that is not an instruction boundary."""
        body = self.body(function)
        i = bisect_right(body, address, key=lambda x: x.address) - 1
        return body[i] if i >= 0 and body[i].address == address else None

    def instruction_before(self, function: Function, address: int) -> Instruction | None:
        """The instruction that ends at an address: the call, for a return address."""
        body = self.body(function)
        i = bisect_right(body, address - 1, key=lambda x: x.address) - 1
        return body[i] if i >= 0 and body[i].end == address else None

    def callers(self, function: Function) -> Iterator[tuple[Instruction, Function]]:
        """Direct calls and tail calls of a function's entry, with the function each stands in; by address.

        Some have tens of thousands: each is decoded when it is asked for.
        """
        for site, target, caller in self.references(function):
            if target == function.entry and (caller.entry != function.entry or site.is_call):
                yield site, caller

    def successors(self, address: int, count: int) -> list[Instruction]:
        """Up to `count` instructions from an address on, as they stand in the file."""
        return list(decode(self.elf.read(address, 16 * count), address, count))

    @cached_property
    def pointers(self) -> RelativePointers:
        """What the loader writes into the file's memory that could be a pointer."""
        return RelativePointers(self.elf)

    @cached_property
    def _imports(self) -> dict[int, str]:
        return imports(self.elf)

    @cached_property
    def _copied(self) -> dict[int, str]:
        return copied(self.elf)

    @cached_property
    def exports(self) -> dict[str, int]:
        """Name of each symbol that other files find in this one → its address."""
        return exports(self.elf)

    def imported(self, slot: int) -> str | None:
        """Name of the library's symbol whose address the loader puts into a GOT slot."""
        return self._imports.get(slot)

    def variable(self, address: int) -> str | None:
        """Name of the library's variable that lies at an address of this file (`stderr`)."""
        return self._copied.get(address)

    def text_at(self, address: int, limit: int = 120) -> str | None:
        """The printable text at an address of read-only data, cut at `limit` bytes; None where there is none."""
        if self.is_code(address):
            return None
        raw = self.elf.read(address, limit).partition(b"\0")[0]
        text = raw.decode("ascii", "replace")
        return text if len(text) > 3 and all(c.isprintable() or c in "\n\t" for c in text) else None

    def called_name(self, call: Instruction) -> str | None:
        """Name of what a call or jump leads to: a library function through PLT or GOT, or a function with a symbol."""
        slot = call.pointed
        if slot is not None:
            return self._imports.get(slot)
        target = call.target
        if target is None:
            return None
        symbol = self._symbols.at(target)
        if symbol is not None:
            return symbol.name
        for instruction in decode(self.elf.read(target, 24), target, 3):
            if instruction.is_jump:
                return self._imports.get(instruction.pointed or 0)
            if not instruction.mnemonic.startswith("endbr"):
                return None
        return None

    # Whether and what a function returns

    def may_return(self, function: Function) -> bool:
        """False where no path from the entry reaches a return: helpers that end in abort, exit or longjmp."""
        return self._returns.may_return(function)

    def result_type(self, function: Function) -> ResultType | None:
        """The declared result type, from DWARF in the file or in its separate debug file."""
        if self.elf.section(".debug_info") is not None:
            found = result_type(str(self.path), function.entry)
            if found is not None:
                return found
        path = debug_file(self.build_id, self._debug_root)
        return result_type(str(path), function.entry) if path is not None else None
