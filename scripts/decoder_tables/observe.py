"""What iced-x86 says about one point of the encoding space, reduced to what the runtime's decoder reports.

MPX is off, as in iced-x86's default: Linux and the processors dropped it, and its instructions are no-ops now.  They
are still marked as what the translator passes on, for the old machines that have it.

The few places where iced-x86's answer is not what the translator needs (its flags of a shift by a count that may be
zero, memory that it does not model) are the named sets at the top of this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import iced_x86
from iced_x86 import (
    CpuidFeature,
    Decoder,
    DecoderOptions,
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    MemorySizeInfo,
    OpAccess,
    OpCodeInfo,
    OpKind,
    Register,
    RflagsBits,
)

from .encodings import MEMORY, OPERAND_KINDS, REGISTER, Map, Point, encode, names_of

FLOWS = (
    "NEXT", "JUMP", "BRANCH", "LOOP", "CALL", "JUMP_INDIRECT", "CALL_INDIRECT", "RETURN", "SYSCALL", "TRAP",
    "TRANSACTION", "FAR",
)  # fmt: skip
MEMORIES = ("NONE", "OPERAND", "STRING", "MASKED", "VECTOR", "OTHER")
STACKS = ("NONE", "PUSH", "POP", "ADJUST", "LEAVE", "LOADED")
IMMEDIATES = ("NONE", "UNSIGNED8", "UNSIGNED16", "SIGNED", "RELATIVE", "FAR", "OFFSET")

STRING_ACCESS = {"MOVS": 2, "STOS": 2, "INS": 2, "CMPS": 1, "SCAS": 1, "LODS": 0, "OUTS": 0}
UNMODELLED_MEMORY = {"MONITOR": 1, "MONITORX": 1, "CLZERO": 2, "UMONITOR": 1}
"""iced-x86 reports no memory access of these; they read or write the line at [rax] (or the given register)."""
OTHER_MEMORY = {"MOVDIR64B", "ENQCMD", "ENQCMDS", "ENTER", "XLATB"}
"""More, or something else, than the ModRM operand is accessed."""
SHIFTS = {"ROL", "ROR", "SHL", "SHR", "SAL", "SAR", "SHLD", "SHRD"}
ROTATES_THROUGH_CARRY = {"RCL", "RCR"}
ADJUSTING = {"ADD", "SUB", "AND", "INC", "DEC", "LEA"}
OTHER_FEATURES = {
    "FSGSBASE", "VMX", "SVM", "SGX1", "SGX2", "SMX", "UINTR", "ENQCMD", "TDX", "SEV_ES", "SEV_SNP", "LWP",
    "PADLOCK_ACE", "PADLOCK_PHE", "PADLOCK_PMM", "PADLOCK_RNG", "PADLOCK_GMI", "PADLOCK_UNDOC", "CENTAUR_AIS", "FRED",
    "MONITOR", "MONITORX", "INTEL286",
}  # fmt: skip
ORDINARY_OF_INTEL286 = {"LAR", "LSL", "VERR", "VERW"}
MPX_OPCODES = (0x1A, 0x1B)
OTHER_MNEMONICS = {
    "WRPKRU", "CLI", "STI", "INCSSPD", "INCSSPQ", "SAVEPREVSSP", "RSTORSSP", "WRSSD", "WRSSQ", "CLRSSBSY", "SETSSBSY",
    "VMCALL", "VMMCALL", "VMGEXIT", "RSM", "RDPMC", "SLDT", "STR", "SMSW", "SGDT", "SIDT", "LGDT", "LIDT",
}  # fmt: skip

RULES_OF_VECTORS = (
    "vvvv_used", "vvvv_below_8", "unique", "unique_sources", "mask_ok", "mask_required", "zero_memory",
    "zero_register", "round", "broadcast",
)  # fmt: skip
RULES_OF_ALL = ("memory_in_register_form", "plain_reg", "below_16", "plain_rm")

_MNEMONICS = names_of(iced_x86.Mnemonic)
_FEATURES = names_of(CpuidFeature)
_FLAG_BITS = (
    (RflagsBits.CF, 1), (RflagsBits.PF, 2), (RflagsBits.AF, 4), (RflagsBits.ZF, 8), (RflagsBits.SF, 16),
    (RflagsBits.OF, 32), (RflagsBits.DF, 64),
)  # fmt: skip
_READS = {OpAccess.READ, OpAccess.COND_READ, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE}
_WRITES = {OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE}
_SEGMENTS = {Register.ES, Register.CS, Register.SS, Register.DS, Register.FS, Register.GS}
_STRING_KINDS = {OpKind.MEMORY_SEG_RSI, OpKind.MEMORY_SEG_ESI, OpKind.MEMORY_ESRDI, OpKind.MEMORY_ESEDI}
_MASKED_KINDS = {OpKind.MEMORY_SEG_RDI, OpKind.MEMORY_SEG_EDI}
_SIGNED_KINDS = {
    OpKind.IMMEDIATE8TO16, OpKind.IMMEDIATE8TO32, OpKind.IMMEDIATE8TO64, OpKind.IMMEDIATE16, OpKind.IMMEDIATE32,
    OpKind.IMMEDIATE32TO64, OpKind.IMMEDIATE64,
}  # fmt: skip
_NEAR_KINDS = {OpKind.NEAR_BRANCH16, OpKind.NEAR_BRANCH32, OpKind.NEAR_BRANCH64}
_FAR_KINDS = {OpKind.FAR_BRANCH16, OpKind.FAR_BRANCH32}


def _general_registers() -> dict[int, int]:
    order = ("A", "C", "D", "B")
    pointers = ("SP", "BP", "SI", "DI")
    numbers: dict[int, int] = {}
    for number in range(16):
        if number < 4:
            letter = order[number]
            names = [f"{letter}L", f"{letter}H", f"{letter}X", f"E{letter}X", f"R{letter}X"]
        elif number < 8:
            name = pointers[number - 4]
            names = [f"{name}L", name, f"E{name}", f"R{name}"]
        else:
            names = [f"R{number}L", f"R{number}W", f"R{number}D", f"R{number}"]
        numbers.update({getattr(Register, name): number for name in names})
    return numbers


GENERAL_REGISTERS = _general_registers()


@dataclass
class Observation:
    """`exact` values must agree within a class (None: does not matter here); `by_size` and `by_length` values may vary
    with (operand size, mode) or with the vector length."""

    exact: dict[str, int | None] = field(default_factory=dict)
    by_size: dict[str, int] = field(default_factory=dict)
    by_either: dict[str, int] = field(default_factory=dict)


class Oracle:
    """iced-x86, asked about points."""

    def __init__(self) -> None:
        self._factory = InstructionInfoFactory()

    def decode(self, point: Point) -> Instruction | None:
        """The instruction at `point`, or None if it is invalid."""
        code, _ = encode(point)
        instruction = Decoder(point.bits, code).decode()
        return None if instruction.is_invalid else instruction

    def has_modrm(self, instruction: Instruction) -> bool:
        info = OpCodeInfo(instruction.code)
        if info.group_index >= 0 or info.rm_group_index >= 0 or info.op_code_len == 2:
            return True
        kinds = [OPERAND_KINDS[kind] for kind in info.op_kinds()]
        return any(
            ("_REG" in kind or "_RM" in kind or "_OR_MEM" in kind or kind.startswith("MEM") or kind == "SIBMEM")
            and kind != "MEM_OFFS"
            for kind in kinds
        )

    def valid_variant(self, point: Point) -> Point | None:
        """`point`, or the nearest one that differs only in EVEX masking or in having a SIB byte, that is valid."""
        for sib in (False, True) if point.form == MEMORY and point.modrm else (False,):
            for mask in (0, 1) if point.map.is_evex else (0,):
                for vvvv in (0, 5) if point.map >= Map.VEX_1 else (0,):  # distinct from others in gathers and AMX
                    candidate = point.but(sib=sib, mask=mask, vvvv=vvvv) if sib or mask or vvvv else point
                    if self.decode(candidate) is not None:
                        return candidate
        return None

    def repeats_a_register(self, point: Point) -> bool:
        """Whether `point` is invalid only because an instruction that wants distinct registers got the same twice."""
        code, _ = encode(point.but(sib=point.form == MEMORY, mask=1) if point.map.is_evex else point)
        instruction = Decoder(point.bits, code, DecoderOptions.NO_INVALID_CHECK).decode()
        info = OpCodeInfo(instruction.code)
        return bool(info.requires_unique_reg_nums or info.requires_unique_dest_reg_num)

    def samples(self, points: list[Point]) -> list[tuple[Point, Observation | None]]:
        """What the decoder must know about each point (None: invalid).  Points that differ only in registers get one
        answer, and that from two different registers, because `xor r,r` and the like are special to iced-x86."""
        groups: dict[tuple[object, ...], list[tuple[Point, Point, Instruction]]] = {}
        samples: list[tuple[Point, Observation | None]] = []
        for point in points:
            variant = self.valid_variant(point)
            instruction = self.decode(variant) if variant else None
            if variant is None or instruction is None:
                if point.map.is_legacy or not self.repeats_a_register(point):
                    samples.append((point, None))
                continue
            key = (instruction.code, point.but(reg=0, rm=0))
            groups.setdefault(key, []).append((point, variant, instruction))
        for members in groups.values():
            distinct = [member for member in members if member[0].reg != member[0].rm]
            _, variant, instruction = (distinct or members)[0]
            observation = _Reading(self, variant, instruction).observation
            samples += [(point, observation) for point, _, _ in members]
        return samples

    def used(self, instruction: Instruction) -> tuple[int, int]:
        """Bit masks of the general registers read and written."""
        reads = writes = 0
        for usage in self._factory.info(instruction).used_registers():
            number = GENERAL_REGISTERS.get(usage.register)
            if number is None:
                continue
            reads |= (usage.access in _READS) << number
            writes |= (usage.access in _WRITES) << number
        return reads, writes

    def accesses(self, instruction: Instruction) -> list[int]:
        """Access of each operand: bit 0 read, bit 1 written."""
        info = self._factory.info(instruction)
        kinds = [info.op_access(i) for i in range(instruction.op_count)]
        return [(kind in _READS) | (kind in _WRITES) << 1 for kind in kinds]

    def accesses_memory(self, instruction: Instruction) -> bool:
        return bool(self._factory.info(instruction).used_memory())


class _Reading:
    """One instruction read into an observation."""

    def __init__(self, oracle: Oracle, point: Point, instruction: Instruction) -> None:
        self.oracle, self.point, self.instruction = oracle, point, instruction
        self.info = OpCodeInfo(instruction.code)
        self.mnemonic = _MNEMONICS[instruction.mnemonic]
        self.kinds = [OPERAND_KINDS[self.info.op_kind(i)] for i in range(instruction.op_count)]
        self.access = oracle.accesses(instruction)
        self.observation = Observation()
        self._immediate()
        self._control()
        self._stack()
        self._memory()
        self._registers()
        self._flags()
        self._encoding_rules()

    def set(self, **values: int | None) -> None:
        self.observation.exact.update({name: None if v is None else int(v) for name, v in values.items()})

    @property
    def string(self) -> str:
        """Family of a string instruction, "" for others."""
        return next((name for name in STRING_ACCESS if self.mnemonic[:-1] == name), "") if self._has_string() else ""

    def _has_string(self) -> bool:
        kinds = {self.instruction.op_kind(i) for i in range(self.instruction.op_count)}
        return bool(kinds & _STRING_KINDS)

    def _immediate(self) -> None:
        _, head = encode(self.point)
        ignores_mod = self.info.ignores_mod_bits
        displacement = 0
        if self.point.modrm:
            displacement = 1
            if self.point.form == MEMORY and not ignores_mod:
                displacement += 4 + self.point.sib
        size = self.instruction.len - head - displacement
        kind = "NONE"
        for i, name in enumerate(self.kinds):
            operand = self.instruction.op_kind(i)
            if name == "MEM_OFFS":
                kind, size = "OFFSET", 0
            elif name == "IMM8_CONST_1" or kind != "NONE":
                continue
            elif operand == OpKind.IMMEDIATE16 and self.mnemonic in ("RET", "RETF", "ENTER"):
                kind = "UNSIGNED16"
            elif operand == OpKind.IMMEDIATE8:
                kind = "UNSIGNED8"
            elif operand in _SIGNED_KINDS:
                kind = "SIGNED"
            elif operand in _NEAR_KINDS:
                kind = "RELATIVE"
            elif operand in _FAR_KINDS:
                kind = "FAR"
        if kind == "NONE" and size:
            kind = "UNSIGNED8"  # a register number or a selector in the last byte
        self.set(immediate=IMMEDIATES.index(kind), ignores_mod=ignores_mod)
        self.observation.by_size["immediate_size"] = size

    def _control(self) -> None:
        control = self.instruction.flow_control
        features = {_FEATURES[feature] for feature in self.instruction.cpuid_features()}
        # GPR moves from and to segment registers, fs/gs bases, ports, virtualisation, shadow-stack management …
        other = (
            self.info.is_input_output
            or self.info.is_privileged
            or bool(features & OTHER_FEATURES and self.mnemonic not in ORDINARY_OF_INTEL286)
            or self.mnemonic in OTHER_MNEMONICS
            or "SEG_REG" in self.kinds
            or bool({"ES", "CS", "SS", "DS", "FS", "GS"} & set(self.kinds))
            or self._loads_segment()
            or (self.point.map == Map.TWO_BYTE and self.point.opcode in MPX_OPCODES)
        )
        flow = self._flow(control)
        self.set(flow=FLOWS.index(flow), other=other)

    def _loads_segment(self) -> bool:
        return self.mnemonic in ("LDS", "LES", "LFS", "LGS", "LSS", "LKGS", "SWAPGS")

    def _flow(self, control: int) -> str:
        instruction = self.instruction
        near = instruction.is_jmp_short_or_near or instruction.is_call_near
        near_indirect = instruction.is_jmp_near_indirect or instruction.is_call_near_indirect
        if control == FlowControl.NEXT:
            faults = not self.info.cpl3 or self.mnemonic in ("HLT", "RSM")
            return "TRAP" if faults else "NEXT"
        if control == FlowControl.UNCONDITIONAL_BRANCH:
            return "JUMP" if near else "FAR"
        if control == FlowControl.INDIRECT_BRANCH:
            return "JUMP_INDIRECT" if near_indirect else "FAR"
        if control == FlowControl.CONDITIONAL_BRANCH:
            return "BRANCH" if instruction.is_jcc_short_or_near else "LOOP"
        if control == FlowControl.RETURN:
            return "RETURN" if self.mnemonic == "RET" else "FAR"
        if control == FlowControl.CALL:
            if self.mnemonic in ("SYSCALL", "SYSENTER"):
                return "SYSCALL"
            if near:
                return "CALL"
            return "FAR" if self.kinds else "TRAP"  # far call; vmcall, seamcall … fault or are answered with an error
        if control == FlowControl.INDIRECT_CALL:
            return "CALL_INDIRECT" if near_indirect else "FAR"
        if control == FlowControl.XBEGIN_XABORT_XEND:
            return "TRANSACTION"
        assert control in (FlowControl.INTERRUPT, FlowControl.EXCEPTION), self.mnemonic
        return "TRAP"

    def _stack(self) -> None:
        increment = self.instruction.stack_pointer_increment
        if self.mnemonic == "RET" and "IMM16" in self.kinds:
            increment -= self.instruction.immediate(0)
        stack = "NONE"
        if self.mnemonic == "LEAVE":
            stack = "LOADED" if self.point.osz == 1 else "LEAVE"
            increment = 4 if self.point.mode else 8
        elif self.mnemonic == "ENTER" or self.mnemonic.startswith(("IRET", "SYSEXIT", "UIRET", "ERET", "RETF")):
            stack, increment = "LOADED", 0
        elif self.instruction.is_stack_instruction:
            stack = "PUSH" if increment < 0 else "POP"
        adjusting = self.mnemonic in ADJUSTING and not any(
            self.instruction.op_kind(i) == OpKind.REGISTER for i in range(1, len(self.kinds))
        )
        reads_other = self.point.form == MEMORY and self.mnemonic != "LEA" and self.point.modrm
        self.set(stack=STACKS.index(stack), adjusting=None if reads_other else adjusting)
        if stack not in ("NONE", "LOADED"):
            self.observation.by_size["stack_bytes"] = abs(increment)

    def _memory(self) -> None:
        self.set(memory=None, access=None, lockable=None, locks=None, bit_offset=None, needs_sib=None)
        self.set(memory_in_register_form=None)
        if self.string:
            self.set(memory=MEMORIES.index("STRING"), access=STRING_ACCESS[self.string])
            self._memory_size()
        elif self.mnemonic in UNMODELLED_MEMORY:
            self.set(memory=MEMORIES.index("OTHER"), access=UNMODELLED_MEMORY[self.mnemonic])
            self.observation.by_either["size"] = 64 if self.mnemonic == "CLZERO" else 1
        else:
            self._memory_operand()
        if self.point.form == REGISTER or self.info.ignores_mod_bits:
            self.set(memory_in_register_form=bool(self.observation.exact["memory"]))

    def _memory_operand(self) -> None:
        operands = [self.instruction.op_kind(i) for i in range(len(self.kinds))]
        for i, operand in enumerate(operands):
            if operand in _MASKED_KINDS:
                self.set(memory=MEMORIES.index("MASKED"), access=self.access[i])
                self._memory_size()
                return
        if OpKind.MEMORY in operands:
            self._modrm_operand(operands.index(OpKind.MEMORY))
        elif self.mnemonic in OTHER_MEMORY or self._touches_unnamed_memory():
            self.set(memory=MEMORIES.index("OTHER"), access=3)
            self.observation.by_either["size"] = 0xFFFF
        elif self.point.form == REGISTER and self.point.modrm and not self.info.ignores_mod_bits:
            pass  # a memory form may share this class
        else:
            self.set(memory=0, access=0, lockable=0, locks=0, bit_offset=0)

    def _touches_unnamed_memory(self) -> bool:
        return not self.instruction.is_stack_instruction and self.oracle.accesses_memory(self.instruction)

    def _modrm_operand(self, index: int) -> None:
        name = self.kinds[index]
        memory = "OPERAND"
        if name.startswith("MEM_VSIB"):
            memory = "VECTOR"
        elif name in ("SIBMEM", "SEG_RBX_AL") or self.mnemonic in OTHER_MEMORY:
            memory = "OTHER"
        self.set(
            memory=MEMORIES.index(memory),
            access=self.access[index],
            lockable=self.info.can_use_lock_prefix,
            locks=self.mnemonic == "XCHG",
            bit_offset=self.mnemonic in ("BT", "BTS", "BTR", "BTC") and "IMM8" not in self.kinds,
            needs_sib=name.startswith("MEM_VSIB") or name == "SIBMEM",
        )
        self._memory_size(self.access[index])

    def _memory_size(self, access: int = 1) -> None:
        size = MemorySizeInfo(self.instruction.memory_size).size
        if size == 0 and access:
            size = 0xFFFF  # xsave family, AMX tiles
        self.observation.by_either["size"] = size

    def _registers(self) -> None:
        roles: dict[str, int | None] = {"reg": 0, "rm": 0, "opcode_register": 0, "vvvv": 0}
        byte_reg = byte_rm = 0
        for name, access in zip(self.kinds, self.access, strict=True):
            if not name.startswith(("R8_", "R16_", "R32_", "R64_")):
                continue
            field_name = self._field(name)
            if field_name == "rm" and self.point.form == MEMORY and not self.info.ignores_mod_bits:
                byte_rm |= name.startswith("R8_")
                continue
            roles[field_name] = (roles[field_name] or 0) | access
            if name.startswith("R8_"):
                byte_reg |= field_name == "reg"
                byte_rm |= field_name != "reg"
        if self.point.form == MEMORY and self.point.modrm and not self.info.ignores_mod_bits:
            roles["rm"] = None
        self.set(role_reg=roles["reg"], role_rm=roles["rm"], role_opcode=roles["opcode_register"])
        self.set(role_vvvv=roles["vvvv"], byte_reg=byte_reg, byte_rm=byte_rm)
        reads, writes = self._implicit()
        self.set(implicit_reads=reads, implicit_writes=writes)

    @staticmethod
    def _field(kind: str) -> str:
        if kind.endswith("_OPCODE"):
            return "opcode_register"
        if kind.endswith("_VVVV"):
            return "vvvv"
        return "rm" if kind.endswith(("_RM", "_OR_MEM")) else "reg"

    def _implicit(self) -> tuple[int, int]:
        """Registers that are used whatever the fields of the encoding say: common to variants of every field."""
        reads = writes = 0xFFFF
        for variant in self._variants():
            instruction = self.oracle.decode(variant)
            if instruction is None or instruction.code != self.instruction.code:
                continue
            used_reads, used_writes = self.oracle.used(instruction)
            reads, writes = reads & used_reads, writes & used_writes
        if FLOWS[self.observation.exact["flow"] or 0] == "SYSCALL":
            reads = 0xFF if self.point.mode else 0xFFFF  # the kernel sees them all
            writes |= 1  # rax: the result
        return reads, writes

    def _variants(self) -> list[Point]:
        point = self.point
        variants = [point]
        for step in (1, 2, 5):
            rm = (point.rm + step) & 7
            if point.form == MEMORY and rm in (4, 5):
                rm = 6 + (step & 1)
            moved = point.but(rm=rm, vvvv=(point.vvvv + step) & 7)
            variants += [moved, moved.but(reg=(point.reg + step) & 7), point.but(rm=rm)]
            variants += [point.but(reg=(point.reg + step) & 7), point.but(vvvv=(point.vvvv + step) & 7)]
        if not point.modrm and point.map.is_legacy:
            variants += [point.but(opcode=point.opcode ^ 1)] if self._registers_in_opcode() else []
            variants += [point.but(rex_b=1)] if point.mode == 0 else []
        return variants

    def _registers_in_opcode(self) -> bool:
        return any(kind.endswith("_OPCODE") for kind in self.kinds)

    def _flags(self) -> None:
        instruction = self.instruction
        reads, writes = _flags(instruction.rflags_read), _flags(instruction.rflags_modified)
        by_immediate = "IMM8" in self.kinds
        uncertain = (
            ("CL" in self.kinds and self.mnemonic in SHIFTS | ROTATES_THROUGH_CARRY)
            or (by_immediate and self.mnemonic in ROTATES_THROUGH_CARRY)
            or FLOWS[self.observation.exact["flow"] or 0] not in ("NEXT", "FAR")
        )
        if FLOWS[self.observation.exact["flow"] or 0] == "SYSCALL":
            reads = 127
        self.set(flags_read=reads, flags_written=0 if uncertain else writes)
        self.set(shift_count=by_immediate and self.mnemonic in SHIFTS)

    def _encoding_rules(self) -> None:
        """What must hold of the fields that choose no instruction: register extensions, vvvv, masking, broadcast."""
        self._extension_rules()
        if self.point.map.is_legacy:
            self.set(**dict.fromkeys(RULES_OF_VECTORS))
            return
        point, valid = self.point, self._valid
        unique = self.info.requires_unique_reg_nums or self.info.requires_unique_dest_reg_num
        used = not valid(vvvv=0) or any(valid(vvvv=other) for other in (3, 5, 6, 7))
        self.set(
            vvvv_used=used,
            vvvv_below_8=None if not used or point.mode else not any(valid(vvvv=other) for other in (9, 10, 11)),
            unique=unique,
            unique_sources=unique and self.info.requires_unique_reg_nums,
            mask_ok=point.map.is_evex and valid(mask=2),
            mask_required=point.map.is_evex and not valid(mask=0),
            zero_memory=None,
            zero_register=None,
            round=None,
            broadcast=None,
        )
        if point.map.is_evex:
            self._evex_rules()

    def _valid(self, **changes: int | bool) -> bool:
        return self.oracle.decode(self.point.but(**changes)) is not None

    def _extension_rules(self) -> None:
        """Whether REX.R and EVEX.R' may extend ModRM.reg, and REX.B ModRM.rm as a register."""
        point = self.point
        self.set(plain_reg=None, below_16=None, plain_rm=None)
        if point.mode or not point.modrm:
            return
        self.set(plain_reg=not self._valid(rex_r=1))
        if point.form == REGISTER or self.info.ignores_mod_bits:
            self.set(plain_rm=not self._valid(rex_b=1))
        if point.map.is_evex:
            self.set(below_16=not self._valid(evex_r=1))

    def _evex_rules(self) -> None:
        point = self.point
        zeroing = self._valid(mask=2, zeroing=1)
        special = self.oracle.decode(point.but(broadcast=1))
        if point.form == MEMORY:
            self.set(zero_memory=zeroing, broadcast=special is not None)
            if special is not None:
                self.observation.by_size["broadcast_size"] = MemorySizeInfo(special.memory_size).size
            self.observation.by_either["displacement_scale"] = self._displacement_scale()
        else:
            self.set(zero_register=zeroing, round=special is not None)

    def _displacement_scale(self) -> int:
        """N of the compressed displacement disp8*N."""
        code, head = encode(self.point)
        tail = head + 1 + self.point.sib
        modrm = code[head] & 0x3F | 0x40
        changed = code[:head] + bytes([modrm]) + code[head + 1 : tail] + b"\x01" + code[tail + 4 :]
        instruction = Decoder(self.point.bits, changed).decode()
        return int(instruction.memory_displacement)


def _flags(bits: int) -> int:
    return sum(ours for theirs, ours in _FLAG_BITS if bits & theirs)
