"""`Image`: one ELF file as localization and planning see it — functions, their parts, their callers, their results.

Nothing is computed before it is asked for, and no code is decoded but that of the functions in question, so a file of
ten megabytes costs little more than its hash.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stemrw.elf import Elf, RelativePointers, branches_into
from stemrw.image._cfi import UnwindTable, unwind_table
from stemrw.image._code import Instruction, decode
from stemrw.image._dwarf import ResultType, result_type
from stemrw.image._symbols import DEBUG_ROOT, FunctionSymbols, copied, debug_file, imports

NEVER_RETURN = frozenset(
    "abort exit _exit _Exit quick_exit __assert_fail __assert __assert_perror_fail __stack_chk_fail __chk_fail "
    "__fortify_fail longjmp _longjmp siglongjmp __longjmp_chk err errx verr verrx pthread_exit execv_fail "
    "__cxa_throw __cxa_rethrow __cxa_bad_cast __cxa_bad_typeid __cxa_throw_bad_array_new_length _Unwind_Resume "
    "_ZSt9terminatev _ZSt17__throw_bad_allocv _ZSt20__throw_length_errorPKc _ZSt24__throw_out_of_range_fmtPKcz "
    "_ZSt19__throw_logic_errorPKc _ZSt20__throw_out_of_rangePKc _ZSt24__throw_invalid_argumentPKc "
    "_ZSt25__throw_bad_function_callv _ZSt16__throw_bad_castv __libc_start_main __libc_fatal _Jv_Throw".split()
)
"""Library functions that do not come back to the instruction behind the call."""

_MAXIMUM_GAP = 1 << 20


@dataclass(frozen=True, slots=True)
class Function:
    """A range of code with one owner: entry and size in bytes, name where known, and what told us of it.

    `fragment` is True for a part that was split off another function (GCC's `.cold`): it has its own unwind entry but
    is only jumped to, so it has no caller and no return address of its own.
    """

    entry: int
    size: int
    symbol: str | None
    source: str
    fragment: bool = False

    @property
    def end(self) -> int:
        return self.entry + self.size

    def __contains__(self, address: int) -> bool:
        return self.entry <= address < self.end

    def __str__(self) -> str:
        return f"{self.symbol} ({self.entry:#x})" if self.symbol else f"the function at {self.entry:#x}"


@dataclass(frozen=True, slots=True)
class Owner:
    """The function an address belongs to, and how that was found, in words for people."""

    function: Function
    evidence: tuple[str, ...]


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
        self._returns: dict[int, bool] = {}
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
            return self._pointers.at(pointed) or self.elf.word(pointed)
        return int(source, 0) if source[:1].isdigit() else None

    # Fragments

    def owner(self, address: int) -> Owner | None:
        """The function an address belongs to, `.cold` parts mapped to the function they were split from."""
        function = self.function_at(address)
        if function is None:
            return None
        known = self._parents.get(function.entry)
        if known is None:
            known = self._parents[function.entry] = self._find_owner(function, 3)
        return known

    def _find_owner(self, part: Function, depth: int) -> Owner:
        named = self.main
        if named is not None and named.entry == part.entry:
            return Owner(named, (f"covered by {part.source} [{part.entry:#x}, {part.end:#x}), the program's main",))
        covered = f"covered by {part.source} [{part.entry:#x}, {part.end:#x})"
        if depth == 0 or (not part.fragment and self._is_entered(part)):
            return Owner(part, (covered,))
        inside, called = self._entries(part)
        if not part.fragment and (called or not any(self._half_way(part, inside))):
            return Owner(part, (covered,))
        by_name = self._named_parent(part)
        parents = [by_name] if by_name else _by_frequency([f for _, _, f in inside])
        for parent in parents:
            sites = [s for s, _, f in inside if f.entry == parent.entry]
            above = self._find_owner(parent, depth - 1)
            how = f"only jumped to, from {_some(sites)}" if sites else f"by its name {part.symbol}"
            split_off = f"a part split off ({how}): belongs to {above.function}"
            return Owner(above.function, (covered, split_off, *above.evidence[1:]))
        return Owner(part, (covered, "looks like a part split off another function, but nothing jumps to it"))

    def _named_parent(self, part: Function) -> Function | None:
        if part.symbol is None or ".cold" not in part.symbol:
            return None
        parents = self.functions_named(part.symbol.partition(".cold")[0])
        return parents[0] if len(parents) == 1 else None  # static functions of several files may share a name

    @staticmethod
    def _half_way(part: Function, inside: list[tuple[Instruction, int, Function]]) -> Iterator[bool]:
        """Entries that no function has: by a conditional jump, or behind its first instruction."""
        for site, target, _ in inside:
            yield target != part.entry or not site.is_unconditional

    def _is_entered(self, part: Function) -> bool:
        """Cheap signs that a part is a function of its own: a name, its address in a table, a call of its entry."""
        if self._pointers.holds(part.entry) or (part.symbol is not None and ".cold" not in part.symbol):
            return True
        return any(site.is_call and target == part.entry for site, target, _ in self._references(part))

    def _entries(self, part: Function) -> tuple[list[tuple[Instruction, int, Function]], bool]:
        """Jumps into a part, as (site, target, function of the site); and whether its entry is called."""
        inside, called = [], False
        for site, target, function in self._references(part):
            if function.entry == part.entry:
                called |= site.is_call and target == part.entry
            elif site.is_call:
                called = True
            else:
                inside.append((site, target, function))
        return inside, called

    def _references(self, part: Function) -> Iterator[tuple[Instruction, int, Function]]:
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
        return tuple(found)

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
        for site, target, caller in self._references(function):
            if target == function.entry and (caller.entry != function.entry or site.is_call):
                yield site, caller

    def successors(self, address: int, count: int) -> list[Instruction]:
        """Up to `count` instructions from an address on, as they stand in the file."""
        return list(decode(self.elf.read(address, 16 * count), address, count))

    @cached_property
    def _pointers(self) -> RelativePointers:
        return RelativePointers(self.elf)

    @cached_property
    def _imports(self) -> dict[int, str]:
        return imports(self.elf)

    @cached_property
    def _copied(self) -> dict[int, str]:
        return copied(self.elf)

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
        return self._may_return(function, 8)

    def _may_return(self, function: Function, depth: int) -> bool:
        known = self._returns.get(function.entry)
        if known is not None:
            return known
        self._returns[function.entry] = False  # a cycle alone returns nothing; another path may
        result = self._reaches_return(function, depth)
        if result or depth == 8:
            self._returns[function.entry] = result
        else:
            del self._returns[function.entry]
        return result

    def _reaches_return(self, function: Function, depth: int) -> bool:
        if depth == 0 or not self.body(function):
            return True
        code = {i.address: i for i in self.whole_body(function)}
        work, seen = [function.entry], set()
        while work:
            address = work.pop()
            while address in code and address not in seen:
                seen.add(address)
                i = code[address]
                if i.is_return:
                    return True
                target = i.target
                if i.is_call and not self._call_returns(i, depth):
                    break
                if i.is_jump:
                    if target is None:  # a jump table (returns if any way out exists) or an indirect tail call
                        return self._indirect_jump_returns(i, code)
                    if target in code:
                        work.append(target)
                    elif self._leaving_jump_returns(i, target, depth):
                        return True
                if i.is_stop:
                    break
                address = i.end
        return False

    def _indirect_jump_returns(self, jump: Instruction, code: dict[int, Instruction]) -> bool:
        name = self.called_name(jump)
        return name not in NEVER_RETURN if name else any(i.is_return or i.is_jump for i in code.values())

    def _leaving_jump_returns(self, jump: Instruction, target: int, depth: int) -> bool:
        if self.called_name(jump) in NEVER_RETURN:
            return False
        other = self.function_at(target)
        return other is None or other.entry != target or self._may_return(other, depth - 1)

    def _call_returns(self, call: Instruction, depth: int) -> bool:
        if self.called_name(call) in NEVER_RETURN:
            return False
        if call.target is None or depth <= 1:
            return True
        callee = self.function_at(call.target)
        return callee is None or callee.entry != call.target or self._may_return(callee, depth - 1)

    def result_type(self, function: Function) -> ResultType | None:
        """The declared result type, from DWARF in the file or in its separate debug file."""
        if self.elf.section(".debug_info") is not None:
            found = result_type(str(self.path), function.entry)
            if found is not None:
                return found
        path = debug_file(self.build_id, self._debug_root)
        return result_type(str(path), function.entry) if path is not None else None


def _by_frequency(functions: list[Function]) -> list[Function]:
    count: dict[int, int] = {}
    for function in functions:
        count[function.entry] = count.get(function.entry, 0) + 1
    unique = {f.entry: f for f in functions}
    return sorted(unique.values(), key=lambda f: (-count[f.entry], f.entry))


def _some(sites: list[Instruction]) -> str:
    shown = ", ".join(f"{s.address:#x}" for s in sites[:3])
    return shown + (f" and {len(sites) - 3} more" if len(sites) > 3 else "")
