"""Instances of instruction forms, and what the host has to know of each to put it into states that make sense.

`build` makes an instance with random operands from what iced-x86 knows of its form; `mutate` changes bits of an
encoding, for what no assembler writes.  `describe` reads the result back and tells its memory operands.
"""

# mypy: disable-error-code="unreachable"
from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from equivalence.forms import CODES, KINDS, MNEMONICS, Form, left_out
from iced_x86 import (
    Decoder,
    Encoder,
    EncodingKind,
    Instruction,
    MemorySizeInfo,
    OpCodeInfo,
    OpKind,
    Register,
    RflagsBits,
    RoundingControl,
)

_HEADER = (Path(__file__).with_name("host") / "machine.h").read_text()


def _define(name: str) -> int:
    found = re.search(rf"^#define {name} (0x[0-9a-f]+|\d+)", _HEADER, re.MULTILINE)
    assert found is not None, f"machine.h defines no {name}"
    return int(found[1], 0)


def _enumerators(name: str) -> dict[str, int]:
    found = re.search(rf"enum {name} {{([^}}]*)}}", _HEADER)
    assert found is not None, f"machine.h has no enum {name}"
    values, following = {}, 0
    for word in re.sub(r"/\*.*?\*/", "", found[1], flags=re.DOTALL).split(","):
        if word.strip():
            key, _, value = (part.strip() for part in word.partition("="))
            following = int(value) if value else following
            values[key] = following
            following += 1
    return values


CASES, EXITS, LOW, FAR, ARENA_BYTES = (_define(name) for name in ("CASES", "EXITS", "LOW", "FAR", "ARENA_BYTES"))
_KIND, _BITS = _enumerators("operand_kind"), _enumerators("operand_bits")
_ARENA, _SETUP = _enumerators("arena"), _enumerators("setup")
_NO_REGISTER = 0xFF
_ALL = (1 << 64) - 1
_OPERAND = struct.Struct("<8BqI4x")
_CASE = struct.Struct("<IIHH7BxHH")

RSP, RBP, RSI, RDI = 4, 5, 6, 7
_JUMP = b"\xff\x24\x25"
NEXT, TAKEN = (_JUMP + struct.pack("<I", EXITS + 8 * way) for way in (0, 1))


def _bank(first: int, count: int) -> list[Form]:
    return list(range(first, first + count))


_R8 = _bank(Register.AL, 8) + _bank(Register.SPL, 12)
_R16, _R32, _R64 = (_bank(first, 16) for first in (Register.AX, Register.EAX, Register.RAX))
_BANKS: dict[str, list[Form]] = {
    "R8": _R8, "R16": _R16, "R32": _R32, "R64": _R64,
    "MM": _bank(Register.MM0, 8), "K": _bank(Register.K0, 8),
    "KP1": [Register.K0, Register.K2, Register.K4, Register.K6],
    "XMM": _bank(Register.XMM0, 32), "YMM": _bank(Register.YMM0, 32), "ZMM": _bank(Register.ZMM0, 32),
    "XMMP3": _bank(Register.XMM0, 32), "ZMMP3": _bank(Register.ZMM0, 32),
    "BND": _bank(Register.BND0, 4), "SEG": _bank(Register.ES, 6), "STI": _bank(Register.ST0, 8),
}  # fmt: skip
_FIXED = {"ES", "CS", "SS", "DS", "FS", "GS", "AL", "CL", "AX", "DX", "EAX", "RAX", "ST0"}
_STRINGS = {
    "ES_RDI": (OpKind.MEMORY_ESRDI, OpKind.MEMORY_ESEDI),
    "SEG_RSI": (OpKind.MEMORY_SEG_RSI, OpKind.MEMORY_SEG_ESI),
    "SEG_RDI": (OpKind.MEMORY_SEG_RDI, OpKind.MEMORY_SEG_EDI),
}
_IMMEDIATES = {
    "IMM8": (OpKind.IMMEDIATE8, 8), "IMM4_M2Z": (OpKind.IMMEDIATE8, 4), "IMM16": (OpKind.IMMEDIATE16, 16),
    "IMM32": (OpKind.IMMEDIATE32, 32), "IMM64": (OpKind.IMMEDIATE64, 64), "IMM32SEX64": (OpKind.IMMEDIATE32TO64, 32),
    "IMM8SEX16": (OpKind.IMMEDIATE8TO16, 8), "IMM8SEX32": (OpKind.IMMEDIATE8TO32, 8),
    "IMM8SEX64": (OpKind.IMMEDIATE8TO64, 8), "IMM8_CONST_1": (OpKind.IMMEDIATE8, 0),
}  # fmt: skip
_SIGNED = {OpKind.IMMEDIATE8TO16, OpKind.IMMEDIATE8TO32, OpKind.IMMEDIATE8TO64, OpKind.IMMEDIATE32TO64}
_BRANCHES = {OpKind.NEAR_BRANCH16, OpKind.NEAR_BRANCH32, OpKind.NEAR_BRANCH64}
_MEMORY = re.compile(r"^(MEM|.*_OR_MEM|MEM_VSIB\d+[XYZ]|MEM_OFFS|R\d+_REG_MEM)$")


@dataclass
class Operand:
    """A memory operand: the registers that make its address, and where it may lie."""

    kind: int = 0
    base: int = _NO_REGISTER
    index: int = _NO_REGISTER
    scale: int = 1
    bits: int = 0
    arena: int = 0
    element: int = 0
    align: int = 0
    displacement: int = 0
    size: int = 0

    def pack(self) -> bytes:
        numbers = (self.kind, self.base, self.index, self.scale, self.bits, self.arena, self.element, self.align)
        return _OPERAND.pack(*numbers, _signed(self.displacement), self.size)


@dataclass
class Case:
    """One test case: its form, its bytes (the jumps behind them included), and what its states need."""

    form: int
    code: bytes
    length: int
    text: str
    taken: int = 0
    ignored: int = 0
    setup: int = 0
    target_register: int = _NO_REGISTER
    bit_register: int = _NO_REGISTER
    count_register: int = _NO_REGISTER
    unsteady: bool = False
    dead_flags: int = 0
    undefined_flags: int = 0
    operands: list[Operand] = field(default_factory=list)

    @property
    def out_of_reach(self) -> bool:
        """Whether it has a RIP-relative operand that the code cache does not reach."""
        return any(o.kind == _KIND["OPERAND_FIXED"] and o.displacement >= FAR - 4096 for o in self.operands)

    def pack(self, offset: int) -> bytes:
        """As the host reads it, with its code at `offset` of the cases."""
        taken = offset + self.taken if self.taken else 0
        head = _CASE.pack(
            offset, taken, self.form, self.ignored, self.length, self.setup, self.target_register,
            self.bit_register, self.count_register, 0, self.unsteady,
            self.dead_flags, self.undefined_flags,
        )  # fmt: skip
        operands = [*self.operands, Operand(), Operand()][:2]
        return head + b"".join(operand.pack() for operand in operands)


def _signed(value: int) -> int:
    value &= _ALL
    return value - (1 << 64) if value >> 63 else value


# ---- instances ----


def build(code: Form, at: int, choice: random.Random) -> tuple[bytes, int] | None:
    """An instance of a form at an address: its bytes, and how many there are between it and what a branch leads to.

    None where the random operands do not go together (AH with REX): try again.
    """
    instruction, info = Instruction(), OpCodeInfo(code)
    instruction.code = code
    gap = choice.choice((0, 0, 5, 40, 200))
    target = at + 32 + gap
    memory = False
    for i, kind in enumerate(info.op_kinds()):
        memory |= _set_operand(instruction, info, i, KINDS[kind], choice, target)
    if info.encoding == EncodingKind.EVEX:
        _decorate(instruction, info, memory, choice)
    if memory and info.can_use_lock_prefix and choice.random() < 0.4:
        instruction.has_lock_prefix = True
    if MNEMONICS[info.mnemonic][:-1] in ("MOVS", "STOS", "LODS", "SCAS", "CMPS"):
        prefix = choice.choice((None, "has_rep_prefix", "has_repne_prefix"))
        if prefix:
            setattr(instruction, prefix, True)
    if instruction.op_count and instruction.segment_prefix == Register.NONE and _may_use_fs(instruction):
        instruction.segment_prefix = choice.choice((Register.NONE,) * 5 + (Register.FS,))
    encoder = Encoder(64)
    try:
        length = encoder.encode(instruction, at)
    except ValueError:
        return None
    return encoder.take_buffer(), 32 + gap - length


def _set_operand(
    instruction: Instruction, info: OpCodeInfo, i: int, kind: str, choice: random.Random, target: int
) -> bool:
    """Whether it is memory."""
    name, _, role = kind.partition("_")
    if kind in _FIXED:
        _register(instruction, i, getattr(Register, kind))
    elif kind in _STRINGS:
        instruction.set_op_kind(i, choice.choice(_STRINGS[kind] + _STRINGS[kind][:1] * 2))
        return True
    elif kind in _IMMEDIATES:
        _set_immediate(instruction, i, kind, choice)
    elif kind.startswith("BR"):
        instruction.set_op_kind(i, OpKind.NEAR_BRANCH64)
        instruction.near_branch64 = target
    elif kind == "SEG_RBX_AL":
        instruction.set_op_kind(i, OpKind.MEMORY)
        instruction.memory_base = choice.choice((Register.RBX, Register.EBX))
        instruction.memory_index = Register.AL
        return True
    elif _MEMORY.match(kind) and (not role.startswith("OR_MEM") or choice.random() < 0.7) and kind[-8:] != "_REG_MEM":
        _set_memory(instruction, info, i, kind, choice)
        return True
    else:
        bank = _BANKS[name]
        if info.encoding != EncodingKind.EVEX and len(bank) == 32:
            bank = bank[:16]
        register = choice.choice(bank)
        if _number(register) == RSP and choice.random() < 0.8:
            register = choice.choice(bank)
        _register(instruction, i, register)
    return False


def _register(instruction: Instruction, i: int, register: Form) -> None:
    instruction.set_op_kind(i, OpKind.REGISTER)
    instruction.set_op_register(i, register)


def _set_immediate(instruction: Instruction, i: int, kind: str, choice: random.Random) -> None:
    operand, width = _IMMEDIATES[kind]
    value = choice.choice((choice.getrandbits(width), choice.getrandbits(width), 0, (1 << width) - 1)) if width else 1
    mnemonic = MNEMONICS[instruction.mnemonic]
    if mnemonic == "ENTER":
        value &= 0x3FF if i == 0 else 0x1F
    if mnemonic == "RET":
        value &= 0x3F8
    if mnemonic == "INT" and value == 0x80:
        value = 0x81  # a system call
    if operand == OpKind.IMMEDIATE8 and i and KINDS[OpCodeInfo(instruction.code).op_kind(i - 1)] == "IMM8":
        operand = OpKind.IMMEDIATE8_2ND
    instruction.set_op_kind(i, operand)
    if operand in _SIGNED and value >> (width - 1) & 1:
        value -= 1 << width
    instruction.set_immediate_i64(i, value if value >> 63 == 0 or value < 0 else value - (1 << 64))


def _number(register: int) -> int | None:
    """Of the general register that a register of any width is a part of."""
    for bank in (_R64, _R32, _R16):
        if register in bank:
            return bank.index(register)
    if register in _R8:
        at = _R8.index(register)
        return at if at < 4 else at - 4
    return None


def _set_memory(instruction: Instruction, info: OpCodeInfo, i: int, kind: str, choice: random.Random) -> None:
    instruction.set_op_kind(i, OpKind.MEMORY)
    wide = choice.random() < 0.85
    bank = _R64 if wide else _R32
    displacement, size = choice.choice(
        ((0, 0), (choice.randrange(-128, 128), 1), (choice.randrange(-(1 << 20), 1 << 20), 8))
    )
    fixed = LOW + choice.choice((choice.randrange(ARENA_BYTES - 64), 4096 - choice.randrange(64), ARENA_BYTES - 8))
    if kind == "MEM_OFFS":
        wide_offset = choice.random() < 0.7
        instruction.memory_displacement, instruction.memory_displ_size = fixed, 8 if wide_offset else 4
        return
    if "VSIB" in kind:
        vectors: Form = {"X": Register.XMM0, "Y": Register.YMM0, "Z": Register.ZMM0}[kind[-1]]
        registers = 32 if info.encoding == EncodingKind.EVEX else 16
        instruction.memory_index = vectors + choice.randrange(registers)
        instruction.memory_index_scale = choice.choice((1, 2, 4, 8))
        instruction.memory_base = choice.choice([register for register in _R64 if _number(register) != RSP])
        instruction.memory_displacement, instruction.memory_displ_size = displacement & _ALL, size
        return
    shape = choice.choice(("base", "base", "base", "sum", "sum", "index", "rip", "rip", "absolute"))
    if shape in ("base", "sum"):
        instruction.memory_base = choice.choice(bank)
    if shape in ("sum", "index"):
        instruction.memory_index = choice.choice([register for register in bank if _number(register) != RSP])
        instruction.memory_index_scale = choice.choice((1, 2, 4, 8))
    if shape == "index":
        displacement, size = choice.randrange(1 << 20), 8
    if shape == "rip":
        instruction.memory_base = Register.RIP if wide else Register.EIP
        displacement, size = fixed + choice.choice((0, FAR - LOW)), 8
    if shape == "absolute":
        displacement, size = fixed, 8
    if shape in ("base", "sum") and instruction.memory_base in (Register.RSP, Register.ESP):
        displacement, size = _signed(displacement) % 256 - 128, 1  # rsp stays in a stack
    if not wide:
        displacement, size = displacement & 0xFFFFFFFF, min(size, 4)
    if MNEMONICS[instruction.mnemonic] in ("BNDMK", "BNDLDX", "BNDSTX"):
        size = 8
    instruction.memory_displacement, instruction.memory_displ_size = displacement & _ALL, size


def _may_use_fs(instruction: Instruction) -> bool:
    return any(
        instruction.op_kind(i) in (OpKind.MEMORY, OpKind.MEMORY_SEG_RSI, OpKind.MEMORY_SEG_RDI)
        for i in range(instruction.op_count)
    ) and instruction.memory_base not in (Register.RIP, Register.EIP) and not (
        instruction.memory_base == Register.NONE and instruction.memory_index == Register.NONE
    )  # fmt: skip


def _decorate(instruction: Instruction, info: OpCodeInfo, memory: bool, choice: random.Random) -> None:
    """EVEX: masks, zeroing, broadcast, rounding."""
    if info.require_op_mask_register or (info.can_use_op_mask_register and choice.random() < 0.6):
        instruction.op_mask = choice.choice(_bank(Register.K1, 7))
        if info.can_use_zeroing_masking and instruction.op0_kind == OpKind.REGISTER and choice.random() < 0.4:
            instruction.zeroing_masking = True
    if memory and info.can_broadcast and choice.random() < 0.4:
        instruction.is_broadcast = True
    if not memory and choice.random() < 0.4:
        if info.can_use_rounding_control:
            instruction.rounding_control = choice.choice(
                (
                    RoundingControl.ROUND_TO_NEAREST,
                    RoundingControl.ROUND_DOWN,
                    RoundingControl.ROUND_UP,
                    RoundingControl.ROUND_TOWARD_ZERO,
                )
            )
        elif info.can_suppress_all_exceptions:
            instruction.suppress_all_exceptions = True


_PREFIXES = frozenset(b"\x26\x2e\x36\x3e\x64\x66\x67\xf0\xf2\xf3")


def mutate(code: bytes, choice: random.Random) -> bytes:
    """Other bits, or one more prefix: what assemblers do not write, but processors may take."""
    if choice.random() < 0.4:
        return bytes([choice.choice(tuple(_PREFIXES))]) + code
    changed = bytearray(code)
    for _ in range(choice.choice((1, 1, 2))):
        changed[choice.randrange(len(changed))] ^= 1 << choice.randrange(8)
    return bytes(changed)


# ---- what they touch ----

_ALIGNED = {"CMPXCHG16B": 16, "MOVDIR64B": 64, "FXSAVE": 16, "FXSAVE64": 16, "FXRSTOR": 16, "FXRSTOR64": 16}
_DEMANDING = re.compile("V?MOV(AP|DQA|NT)")
_IMAGES = {"XRSTOR": "SETUP_XSAVE_IMAGE", "XRSTOR64": "SETUP_XSAVE_IMAGE", "FXRSTOR": "SETUP_FXSAVE_IMAGE",
           "FXRSTOR64": "SETUP_FXSAVE_IMAGE", "LDMXCSR": "SETUP_MXCSR", "VLDMXCSR": "SETUP_MXCSR"}  # fmt: skip
_UNSTEADY = {"RDTSC": 0b101, "RDTSCP": 0b101, "RDPMC": 0b101}
_DRAWN = {"RDRAND", "RDSEED"}


def describe(code: bytes, at: int, gap: int) -> Case | None:
    """The case of an instruction at an address; None if it is not one that is compared, or has no sense there."""
    decoder = Decoder(64, code, ip=at)
    instruction = decoder.decode()
    if instruction.is_invalid or instruction.len != len(code) or left_out(instruction.code) is not None:
        return None
    if instruction.segment_prefix == Register.GS and _touches_segment(instruction):
        return None
    mnemonic = MNEMONICS[instruction.mnemonic]
    if mnemonic == "INT" and instruction.immediate(0) == 0x80:
        return None
    case = Case(instruction.code, code, len(code), str(instruction))
    for i in range(instruction.op_count):
        operand = _memory_operand(instruction, instruction.op_kind(i), mnemonic)
        if operand is not None:
            case.operands.append(operand)
    if mnemonic in ("MOVDIR64B", "ENQCMD"):
        destination = Operand(_KIND["OPERAND_REGISTERS"], base=_base(instruction.op0_register), size=64, align=64)
        if instruction.op0_register in _R32:
            destination.bits, destination.arena = _BITS["OPERAND_NARROW"], _ARENA["ARENA_LOW"]
        case.operands.append(destination)
    _set_up(case, instruction, mnemonic)
    case.dead_flags = _flags(instruction.rflags_modified & ~instruction.rflags_read)
    case.undefined_flags = _flags(instruction.rflags_undefined)
    branches = instruction.op_count and instruction.op0_kind in _BRANCHES
    if branches and instruction.near_branch_target != at + len(code) + gap:
        return None
    _lay_out(case, gap)
    return case


_FLAGS = ((RflagsBits.CF, 1), (RflagsBits.PF, 4), (RflagsBits.AF, 16), (RflagsBits.ZF, 64), (RflagsBits.SF, 128),
          (RflagsBits.OF, 2048))  # fmt: skip


def _flags(bits: int) -> int:
    """Arithmetic flags as bits of rflags."""
    return sum(bit for theirs, bit in _FLAGS if bits & theirs)


def _lay_out(case: Case, gap: int) -> None:
    """insn; jmp [next]; …; taken: jmp [taken]."""
    case.taken = case.length + gap
    case.code = (case.code + NEXT).ljust(case.taken, b"\xcc") + TAKEN


def _base(register: int) -> int:
    number = _number(register)
    return _NO_REGISTER if number is None else number


def _touches_segment(instruction: Instruction) -> bool:
    return any(
        instruction.op_kind(i) in (OpKind.MEMORY, OpKind.MEMORY_SEG_RSI, OpKind.MEMORY_SEG_ESI, OpKind.MEMORY_SEG_RDI,
                                   OpKind.MEMORY_SEG_EDI)
        for i in range(instruction.op_count)
    ) and MNEMONICS[instruction.mnemonic] != "LEA"  # fmt: skip


def _memory_operand(instruction: Instruction, kind: int, mnemonic: str) -> Operand | None:
    narrow = kind in (OpKind.MEMORY_ESEDI, OpKind.MEMORY_SEG_ESI, OpKind.MEMORY_SEG_EDI)
    size = MemorySizeInfo(instruction.memory_size).size
    legacy_vector = size == 16 and OpCodeInfo(instruction.code).encoding == EncodingKind.LEGACY
    demanded = min(size, 64) if legacy_vector or _DEMANDING.match(mnemonic) else 0
    operand = Operand(_KIND["OPERAND_REGISTERS"], size=size, align=_ALIGNED.get(mnemonic, demanded))
    if kind in (OpKind.MEMORY_ESRDI, OpKind.MEMORY_ESEDI, OpKind.MEMORY_SEG_RDI, OpKind.MEMORY_SEG_EDI):
        operand.base = RDI
    elif kind in (OpKind.MEMORY_SEG_RSI, OpKind.MEMORY_SEG_ESI):
        operand.base = RSI
    elif kind == OpKind.MEMORY:
        narrow = _explicit(instruction, operand, mnemonic)
    else:
        return None
    if narrow:
        operand.bits |= _BITS["OPERAND_NARROW"]
        operand.arena = _ARENA["ARENA_LOW"]
    fs = instruction.segment_prefix == Register.FS
    if fs and mnemonic not in ("LEA", "NOP") and kind not in (OpKind.MEMORY_ESRDI, OpKind.MEMORY_ESEDI):
        operand.bits |= _BITS["OPERAND_FS"]
        operand.arena = _ARENA["ARENA_HIGH"]
    if RSP in (operand.base, operand.index) and operand.kind == _KIND["OPERAND_REGISTERS"]:
        operand.arena = _ARENA["ARENA_STACK"]
    return operand


def _explicit(instruction: Instruction, operand: Operand, mnemonic: str) -> bool:
    """Fill in a ModRM or absolute operand; whether its address has 32 bits."""
    base, index = instruction.memory_base, instruction.memory_index
    narrow = base in _R32 or index in _R32
    operand.displacement = instruction.memory_displacement
    operand.base, operand.index = _base(base), _base(index)
    operand.scale = instruction.memory_index_scale
    if mnemonic.startswith(("XSAVE", "XRSTOR")):
        operand.size, operand.align = 2700, 64
    elif mnemonic in _ALIGNED:
        operand.align = _ALIGNED[mnemonic]
    if instruction.is_vsib:
        operand.kind = _KIND["OPERAND_VECTOR"]
        first = next(r for r in (Register.ZMM0, Register.YMM0, Register.XMM0) if index >= r)
        operand.index, operand.element = index - first, 8 if instruction.is_vsib64 else 4
    elif index == Register.AL:
        operand.index, operand.bits = _NO_REGISTER, _BITS["OPERAND_INDEX_AL"]
    elif operand.base == operand.index == _NO_REGISTER:
        operand.kind, operand.arena = _KIND["OPERAND_FIXED"], _ARENA["ARENA_LOW"]
    elif mnemonic == "POP" and operand.base == RSP:
        operand.displacement += instruction.stack_pointer_increment
    return narrow


def _set_up(case: Case, instruction: Instruction, mnemonic: str) -> None:
    kinds = [KINDS[kind] for kind in OpCodeInfo(instruction.code).op_kinds()]
    indirect = instruction.is_call_near_indirect or instruction.is_jmp_near_indirect
    setup = _IMAGES.get(mnemonic, "SETUP_NONE")
    if indirect and instruction.op0_kind == OpKind.REGISTER:
        setup, case.target_register = "SETUP_TARGET_REGISTER", _base(instruction.op0_register)
    elif indirect:
        setup = "SETUP_TARGET_MEMORY"
    elif mnemonic == "RET":
        setup = "SETUP_TARGET_STACK"
    elif mnemonic.startswith("POPF"):
        setup = "SETUP_FLAGS_STACK"
    elif mnemonic.startswith("XSAVE") or mnemonic == "XGETBV":
        setup = "SETUP_SAVES"
    elif mnemonic in ("LEAVE", "ENTER"):
        setup = "SETUP_FRAME"
    case.setup = _SETUP[setup]
    if mnemonic in ("BT", "BTS", "BTR", "BTC") and kinds[1] != "IMM8" and case.operands:
        case.bit_register = _base(instruction.op1_register)
    if instruction.has_rep_prefix or instruction.has_repne_prefix or mnemonic.startswith(("LOOP", "JRCX", "JECX")):
        case.count_register = 1
    if mnemonic in _UNSTEADY:
        case.ignored, case.unsteady = _UNSTEADY[mnemonic], True
    if mnemonic in _DRAWN:
        case.ignored, case.unsteady = 1 << _base(instruction.op0_register), True


# ---- batches ----


def instance(
    code: Form, at: int, choice: random.Random, accept: Callable[[Case], bool] = lambda case: True
) -> Case | None:
    """A case of a form at an address, mutated now and then; None after 20 tries (nothing goes together)."""
    for _ in range(20):
        made = build(code, at, choice)
        if made is None:
            continue
        encoding, gap = made
        if choice.random() < 0.15:
            changed = mutate(encoding, choice)
            encoding, gap = changed, gap - (len(changed) - len(encoding))
        case = describe(encoding, at, gap)
        if case is not None and accept(case):
            return case
    return None


def name(form: int) -> str:
    """As iced-x86 names it."""
    return CODES[form]
