"""Original against hardened function, input by input.

Equal means: the same end (return, system call, fault) at the same place with the same registers and memory.  A fault of
the original must be rescued where the runtime can: then every register and all memory must be as at entry, the planned
result aside.  Each input is run both ways: emulated by the runtime, and natively through the gate and the displaced
instructions (the runtime's state says that it is disabled, so that it stands aside).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from stemrw.documents.manifest import Manifest, Patch
from stemrw.documents.plan import PlannedRegion
from stemrw.documents.verification import EmulatedFunction
from stemrw.elf import Elf, align
from stemrw.elf.constants import PAGE
from stemrw.runtime import RuntimeImage
from stemrw.verify.emulate._inputs import Inputs
from stemrw.verify.emulate._machine import GENERAL, Input, Machine, Outcome
from stemrw.verify.emulate._program import STACK, STACK_BYTES, Program

_HARDENED_BUDGET = 60_000_000
"""Instructions for what the original does in `Machine.budget`: translation, undo and the runtime's start included."""
_MOST_DIFFERENCES = 3
_NOT_ITS_OWN = "the original itself differs from run to run, or with what was left on the stack"
_NO_BOUNDARY = 255


@dataclass
class _Tally:
    ends: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    natively: Counter[str] = field(default_factory=Counter)
    rescued: int = 0
    differences: list[str] = field(default_factory=list)


class Comparison:
    """The processes in which the functions of one hardened file are compared.

    `image` is the runtime that the file carries.  Raises BinaryError where the file cannot be loaded.
    """

    def __init__(self, original: Elf, hardened: Elf, manifest: Manifest, image: RuntimeImage) -> None:
        self._hardened, self._manifest, self._image = hardened, manifest, image
        header = image.structs["payload_header"].unpack(hardened.read(manifest.payload.address, manifest.payload.size))
        flags = int.from_bytes(header["flags"], "little")
        self._program = Program(original, glibc=bool(flags & image.constants["HEADER_GLIBC"]))
        self._original = Machine(self._program, original)
        self._resolve()
        self._ways = {"emulated": self._process("emulated"), "natively": self._process("natively")}
        self._inputs = Inputs(self._program)
        self._displaced = dict(_displaced(hardened, manifest, image))
        self._added = list(self._added_memory(original))
        self._regions = {region.address: region for region in manifest.regions}

    def functions(self, inputs: int, progress: Callable[[str], None]) -> Iterator[EmulatedFunction]:
        """Compare every patched function on so many inputs; the start first, as in a process."""
        for patch in sorted(self._manifest.patches, key=lambda patch: (patch.kind != "start", patch.address)):
            progress(f"{patch.function:#x}")
            yield self._function(patch, inputs)

    def _process(self, way: str) -> Machine:
        payload = self._manifest.payload
        displaced = [patch.displaced for patch in self._manifest.patches]
        machine = Machine(self._program, self._hardened, self._image, payload.address, displaced, _HARDENED_BUDGET)
        if way == "natively":
            offset, size = self._image.structs["state"].fields["status"]
            disabled = self._image.constants["STATUS_DISABLED"].to_bytes(size, "little")
            machine.write(payload.state_address + self._program.bias + offset, disabled)
        return machine

    def _added_memory(self, original: Elf) -> Iterator[range]:
        """Addresses that the hardened file has and the original has not."""
        before = {load.address: align(load.end, PAGE) for load in original.loads}
        for load in self._hardened.loads:
            first = before.get(load.address, load.address & -PAGE)
            yield range(first + self._program.bias, align(load.end, PAGE) + self._program.bias)

    def _resolve(self) -> None:
        """Run the resolvers of indirect functions, as a loader does, and note what they choose."""
        inputs = Inputs(self._program)
        for place, resolver in self._program.resolvers.items():
            outcome = self._original.run(resolver, inputs.next(resolver, 0))
            if outcome.kind == "returned":
                self._program.words[place] = outcome.registers["rax"]
        self._original.relocate()

    def _function(self, patch: Patch, inputs: int) -> EmulatedFunction:
        tally = _Tally()
        region = self._regions.get(patch.function)
        size = region.size if region else 0
        entry = patch.function + self._program.bias
        for number in range(inputs):
            given = self._inputs.next(patch.function, number, start=patch.kind == "start")
            expected = self._original.run(entry, given)
            if expected.kind in ("endless", "unsupported"):
                tally.left_out[self._why(expected)] += 1
                continue
            if any(expected.address in added for added in self._added):
                tally.left_out["a wild access that would hit what was added to the file"] += 1
                continue
            memory = self._memory(self._original, given, expected)
            found = {way: self._run(way, entry, given, expected, memory, region, tally) for way in self._ways}
            different = {way: difference for way, difference in found.items() if difference}
            own = all(self._is_own(entry, given, expected, memory, self._ways[way]) for way in different)
            for way in different:
                self._ways[way] = self._process(way)  # whatever state it was left in
            if not own:
                tally.left_out[_NOT_ITS_OWN] += 1
                continue
            tally.differences += [f"input {number}, {way}: {difference}" for way, difference in different.items()]
            tally.ends[expected.kind] += 1
            if len(tally.differences) >= _MOST_DIFFERENCES:
                break
        return EmulatedFunction(
            function=patch.function,
            name=patch.name,
            kind=patch.kind,
            size=size,
            covered=_covered(self._original.coverage, entry, size),
            ends=dict(tally.ends),
            rescued=tally.rescued,
            left_out=dict(tally.left_out),
            natively=dict(tally.natively),
            differences=tuple(tally.differences),
        )

    def _run(
        self, way: str, entry: int, given: Input, expected: Outcome, memory: Mapping[int, bytes],
        region: PlannedRegion | None, tally: _Tally,
    ) -> str | None:  # fmt: skip
        """Run it hardened; gives what differs."""
        machine = self._ways[way]
        before = self._reasons(machine)
        found = machine.run(entry, given)
        if way == "emulated":
            tally.natively.update(self._reasons(machine) - before)
        if found.recovery is not None:
            tally.rescued += 1
            return self._compare_rescue(machine, given, expected, found, region)
        if found.kind == "fault":
            found = self._undisplaced(found)
        if (found.kind, found.pc, found.number) != (expected.kind, expected.pc, expected.number):
            return f"{_end(found)}; the original {_end(expected)}"
        return _registers_differ(expected.registers, found.registers) or _memory_differs(
            memory, self._memory(machine, given, found)
        )

    def _compare_rescue(
        self, machine: Machine, given: Input, expected: Outcome, found: Outcome, region: PlannedRegion | None
    ) -> str | None:
        recovery = found.recovery
        assert recovery is not None
        if expected.kind != "fault" or expected.pc not in (recovery.pc, recovery.address):
            return f"a fault at {recovery.pc:#x} was rescued; the original {_end(expected)}"
        if found.kind == "inner rescue":  # what the callers make of it, the original cannot tell
            return None
        if found.kind != "returned" or region is None or recovery.region != region.address + self._program.bias:
            return f"it was rescued to {recovery.region:#x}, then it {_end(found)}"
        wanted = dict(given.registers)
        wanted["rsp"] += 8
        wanted["rax"] = 0 if region.return_kind == "void" else region.return_value
        if found.registers["rdx"] == 0:
            wanted["rdx"] = 0  # the function had written it
        kept = {name: wanted[name] for name in GENERAL} | {"df": 0, "mxcsr": 0x1F80}
        if region.return_kind == "double":
            kept["xmm0"] = region.return_value
        as_entered = {start: content for start, content in given.areas.items() if start != STACK}
        as_entered[STACK + wanted["rsp"] - 8 - STACK] = given.areas[STACK][wanted["rsp"] - 8 - STACK :]
        difference = _registers_differ(kept, found.registers) or _memory_differs(
            as_entered, {start: machine.read(start, len(content)) for start, content in as_entered.items()}
        )
        return f"after the rescue, {difference}" if difference else None

    def _is_own(
        self, entry: int, given: Input, expected: Outcome, memory: Mapping[int, bytes], hardened: Machine
    ) -> bool:
        """Whether the original does the same again, whatever was left on the stack below its frame.

        Only then a difference means something: the gate and the runtime leave other things there than the original.
        """
        dead = given.registers["rsp"] - STACK
        stack = given.areas[STACK]
        left = hardened.read(STACK, dead)
        for below in (stack[:dead], left, bytes(dead), bytes(byte ^ 0x5A for byte in stack[:dead])):
            again = Input(given.registers, {**given.areas, STACK: below + stack[dead:]})
            outcome = self._original.run(entry, again)
            if outcome != expected or self._memory(self._original, given, outcome) != memory:
                return False
        return True

    def _memory(self, machine: Machine, given: Input, outcome: Outcome) -> dict[int, bytes]:
        """All memory of the program but the stack below the function's entry.

        After a return that is dead.  In frames that are still there, bytes that nobody has written yet hold what the
        gate has left.
        """
        live = max(outcome.registers["rsp"], given.registers["rsp"])
        live = min(live, STACK + STACK_BYTES)
        areas = {start: machine.read(start, len(content)) for start, content in given.areas.items() if start != STACK}
        return areas | {live: machine.read(live, STACK + STACK_BYTES - live)}

    def _reasons(self, machine: Machine) -> Counter[str]:
        """Why the runtime ran something natively, so far, in words."""
        offset, size = self._image.structs["state"].fields["reasons"]
        raw = machine.read(self._manifest.payload.state_address + self._program.bias + offset, size)
        return Counter(
            {
                self._image.enumerator("REASON_", i): int.from_bytes(raw[8 * i : 8 * i + 8], "little")
                for i in range(size // 8)
            }
        )

    def _undisplaced(self, outcome: Outcome) -> Outcome:
        """A fault in a displaced copy is one at the original instruction."""
        pc = self._displaced.get(outcome.pc - self._program.bias)
        if pc is None:
            return outcome
        return Outcome(outcome.kind, pc + self._program.bias, outcome.registers, outcome.number)

    def _why(self, outcome: Outcome) -> str:
        if outcome.kind == "endless":
            return f"no end within {self._original.budget} instructions"
        from iced_x86 import Decoder

        instruction = Decoder(64, self._original.read(outcome.pc, 15), ip=outcome.pc).decode()
        return f"Unicorn does not know `{instruction}`".replace(f"{self._program.bias:x}", "")


def _displaced(hardened: Elf, manifest: Manifest, image: RuntimeImage) -> Iterator[tuple[int, int]]:
    """Address of each displaced copy and of its original instruction."""
    layout = image.structs["patch"]
    header = image.structs["payload_header"].unpack(hardened.read(manifest.payload.address, manifest.payload.size))
    table = manifest.payload.address + int.from_bytes(header["patch_table"], "little")
    for i in range(int.from_bytes(header["patch_count"], "little")):
        fields = layout.unpack(hardened.read(table + layout.size * i, layout.size))
        address, displaced = (int.from_bytes(fields[name], "little") for name in ("address", "displaced"))
        for into, boundary in enumerate(fields["boundaries"]):
            if boundary != _NO_BOUNDARY:
                yield manifest.payload.address + displaced + boundary, address + into


def _covered(blocks: Mapping[int, int], entry: int, size: int) -> int:
    done = bytearray(size)
    for address, length in blocks.items():
        for at in range(max(address - entry, 0), min(address - entry + length, size)):
            done[at] = 1
    return sum(done)


def _registers_differ(expected: Mapping[str, int], found: Mapping[str, int]) -> str | None:
    for name, value in expected.items():
        if found[name] != value:
            return f"{name} is {found[name]:#x} instead of {value:#x}"
    return None


def _memory_differs(expected: Mapping[int, bytes], found: Mapping[int, bytes]) -> str | None:
    for start, content in expected.items():
        other = found.get(start)
        if other is None:
            return f"the stack pointer is not {start:#x}"
        if other != content:
            at = next(i for i, (a, b) in enumerate(zip(content, other, strict=True)) if a != b)
            return f"the byte at {start + at:#x} is {other[at]:#04x} instead of {content[at]:#04x}"
    return None


def _end(outcome: Outcome) -> str:
    match outcome.kind:
        case "returned":
            return "returned"
        case "system call":
            return f"made system call {outcome.number} at {outcome.pc:#x}"
        case "fault":
            return f"died of signal {outcome.number} at {outcome.pc:#x}"
        case "endless":
            return "does not end"
        case _:
            return f"ended by an {outcome.kind} at {outcome.pc:#x}"
