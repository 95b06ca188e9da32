"""What decode() should report about one concrete instruction, according to iced-x86.

This asks iced-x86 about the very instruction, registers, prefixes and immediates included; the decoder's tables were
made from representatives and folded.  So an error of folding, of the tables or of decode.c shows here.

Where decode.h gives a field another meaning than iced-x86 does, or iced-x86 is finer than the decoder wants to be, a
rule in this file says so, each with its reason.  There are no other allowed differences (see REJECTED for encodings
that decode.h promises to refuse).
"""

from __future__ import annotations

import iced_x86
from decoder.native import Record, enumerators
from iced_x86 import (
    Code,
    CpuidFeature,
    Decoder,
    EncodingKind,
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    MemorySizeInfo,
    OpAccess,
    OpCodeInfo,
    OpCodeOperandKind,
    OpKind,
    Register,
    RflagsBits,
)

FLOW, STACK, MEMORY = enumerators("flow"), enumerators("stack_effect"), enumerators("memory_kind")
NONE = 0xFF
RSP = 4


def _names(module: object) -> dict[int, str]:
    return {getattr(module, name): name for name in dir(module) if name.isupper()}


MNEMONICS, CODES, OPERANDS = _names(iced_x86.Mnemonic), _names(Code), _names(OpCodeOperandKind)
FEATURES, REGISTERS = _names(CpuidFeature), _names(Register)
_READS = frozenset({OpAccess.READ, OpAccess.COND_READ, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE})
_WRITES = frozenset({OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE})
_ADDRESSED = frozenset(kind for name, kind in vars(OpKind).items() if name.startswith("MEMORY"))


def _number(name: str) -> int | None:
    """Number of the general register that contains the one called `name`."""
    legacy = ("AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI")
    if name in ("AL", "CL", "DL", "BL", "AH", "CH", "DH", "BH"):
        return legacy.index(name[0] + "X")
    if name in ("SPL", "BPL", "SIL", "DIL"):
        name = name[:2]
    if name[1:] in legacy and name[0] in "ER":
        name = name[1:]
    if name in legacy:
        return legacy.index(name)
    digits = name[1:].rstrip("LWD")
    return int(digits) if name[0] == "R" and digits.isdigit() else None


GENERAL = {value: _number(name) for value, name in REGISTERS.items()}
FULL = {64: frozenset(range(Register.RAX, Register.R15 + 1)), 32: frozenset(range(Register.EAX, Register.R15D + 1))}
SEGMENT_PREFIXES = {
    Register.NONE: 0,
    Register.ES: 0x26,
    Register.CS: 0x2E,
    Register.SS: 0x36,
    Register.DS: 0x3E,
    Register.FS: 0x64,
    Register.GS: 0x65,
}
_FLAGS = ((RflagsBits.CF, 1), (RflagsBits.PF, 2), (RflagsBits.AF, 4), (RflagsBits.ZF, 8), (RflagsBits.SF, 16),
          (RflagsBits.OF, 32), (RflagsBits.DF, 64))  # fmt: skip


def _flags(bits: int) -> int:
    return sum(ours for theirs, ours in _FLAGS if bits & theirs)


class Expectation:
    """Expected values of the fields of struct instruction; `fields()` gives those that iced-x86 can vouch for."""

    def __init__(self, decoder: Decoder, instruction: Instruction, factory: InstructionInfoFactory, bits: int) -> None:
        self.instruction, self.bits = instruction, bits
        self.code_info = OpCodeInfo(instruction.code)
        self.mnemonic = MNEMONICS[instruction.mnemonic]
        count = instruction.op_count
        self.kinds = [instruction.op_kind(i) for i in range(count)]
        self.forms = [OPERANDS[self.code_info.op_kind(i)] for i in range(count)]
        info = factory.info(instruction)
        self.access = [(a in _READS) | (a in _WRITES) << 1 for a in (info.op_access(i) for i in range(count))]
        self.used = info.used_registers()
        self.touches_memory = bool(info.used_memory())
        self.constants = decoder.get_constant_offsets(instruction)
        self.string = self.mnemonic[:-1] in ("MOVS", "STOS", "LODS", "SCAS", "CMPS", "INS", "OUTS") and any(
            kind in _ADDRESSED and kind != OpKind.MEMORY for kind in self.kinds
        )

    def fields(self) -> dict[str, int]:
        """Field name to expected value."""
        fields = {"length": self.instruction.len, "flow": FLOW["FLOW_" + self.flow()]}
        fields |= self.parts() | self.memory() | self.stack() | self.registers() | self.flags()
        if self.mnemonic == "INT" and self.instruction.immediate(0) == 0x80:
            fields["flow"] = FLOW["FLOW_SYSCALL"]
        if fields["flow"] == FLOW["FLOW_SYSCALL"]:
            # The kernel sees every register and answers in rax; sysret restores the flags, so they are not written.
            fields["reads"] = 0xFFFF if self.bits == 64 else 0xFF
            fields["writes"] |= 1
            fields["flags_read"], fields["flags_written"] = 127, 0
        elif fields["flow"] not in (FLOW["FLOW_NEXT"], FLOW["FLOW_FAR"]):
            fields["flags_written"] = 0  # what happens next decides
        return fields

    def flow(self) -> str:
        """Name of the flow, without FLOW_."""
        instruction, mnemonic = self.instruction, self.mnemonic
        control = instruction.flow_control
        if instruction.is_call_near or instruction.is_jmp_short_or_near:
            return "CALL" if instruction.is_call_near else "JUMP"
        if instruction.is_jmp_near_indirect or instruction.is_call_near_indirect:
            return "JUMP_INDIRECT" if instruction.is_jmp_near_indirect else "CALL_INDIRECT"
        if mnemonic in ("SYSCALL", "SYSENTER"):
            return "SYSCALL"
        if mnemonic == "RET":
            return "RETURN"
        if control == FlowControl.CONDITIONAL_BRANCH:
            return "BRANCH" if instruction.is_jcc_short_or_near else "LOOP"
        if control == FlowControl.XBEGIN_XABORT_XEND:
            return "TRANSACTION"
        if control in (FlowControl.INTERRUPT, FlowControl.EXCEPTION):
            return "TRAP"
        if control == FlowControl.NEXT:
            return "NEXT" if self.code_info.cpl3 and mnemonic != "RSM" else "TRAP"
        if control == FlowControl.CALL and not self.kinds:
            return "TRAP"  # vmcall, enclu, seamcall …
        return "FAR"

    def parts(self) -> dict[str, int]:
        """Where displacement and immediates lie, their values, the branch target, prefixes."""
        constants, instruction = self.constants, self.instruction
        fields = {
            "displacement_offset": constants.displacement_offset if constants.has_displacement else 0,
            "displacement_size": constants.displacement_size if constants.has_displacement else 0,
            "lock": instruction.has_lock_prefix or (self.mnemonic == "XCHG" and OpKind.MEMORY in self.kinds),
            "repeat": self.string and (instruction.has_rep_prefix or instruction.has_repne_prefix),
            "vex": {EncodingKind.LEGACY: 0, EncodingKind.EVEX: 4, EncodingKind.XOP: 5}.get(self.code_info.encoding, 2),
            "target": 0,
        }
        if any(form.startswith(("BR", "XBEGIN")) for form in self.forms):
            fields["target"] = instruction.near_branch_target
        register_byte = any(form.endswith(("_IS4", "_IS5")) for form in self.forms)
        if constants.has_immediate and not register_byte:
            fields["immediate_offset"] = constants.immediate_offset
            fields["immediate_size"] = constants.immediate_size + constants.immediate_size2
            fields |= self.immediate()
        elif not register_byte:
            fields |= {"immediate_offset": 0, "immediate_size": 0, "immediate": 0}
        return fields

    def immediate(self) -> dict[str, int]:
        """The first immediate; what the instruction does not extend itself is signed unless one byte."""
        for i, kind in enumerate(self.kinds):
            if kind in _ADDRESSED or kind == OpKind.REGISTER or self.forms[i] == "IMM8_CONST_1":
                continue
            if kind in (OpKind.NEAR_BRANCH16, OpKind.NEAR_BRANCH32, OpKind.NEAR_BRANCH64):
                distance = self.instruction.near_branch_target - self.instruction.next_ip
                return {"immediate": _signed(distance, self.bits)}
            if kind in (OpKind.FAR_BRANCH16, OpKind.FAR_BRANCH32):
                return {}
            value, size = self.instruction.immediate(i), self.constants.immediate_size
            extended = kind in (OpKind.IMMEDIATE8TO16, OpKind.IMMEDIATE8TO32, OpKind.IMMEDIATE8TO64)
            unsigned = self.mnemonic in ("RET", "RETF", "ENTER") or (size == 1 and not extended)
            return {"immediate": value & ((1 << 8 * size) - 1) if unsigned else _signed(value, 8 * size)}
        return {}

    def memory(self) -> dict[str, int]:
        """Kind, access, size and address form of the memory operand."""
        fields = {"memory": 0, "access": 0, "base": NONE, "index": NONE, "scale": 1, "rip_relative": 0}
        fields |= {"bit_offset": 0, "operand_bytes": 0}
        if self.string:
            access = {"MOVS": 2, "STOS": 2, "INS": 2, "CMPS": 1, "SCAS": 1}.get(self.mnemonic[:-1], 0)
            size = MemorySizeInfo(self.instruction.memory_size).size
            prefix = SEGMENT_PREFIXES[self.instruction.segment_prefix] if self.segmented() else 0
            string = {"memory": MEMORY["MEMORY_STRING"], "access": access, "operand_bytes": size}
            return fields | string | {"segment": prefix}
        if self.mnemonic in ("MONITOR", "MONITORX", "UMONITOR", "CLZERO"):
            # iced-x86 models no access of these.
            access = 2 if self.mnemonic == "CLZERO" else 1
            size = 64 if access == 2 else 1
            return fields | {"memory": MEMORY["MEMORY_OTHER"], "access": access, "operand_bytes": size}
        for i, kind in enumerate(self.kinds):
            if kind == OpKind.MEMORY:
                return fields | self.memory_operand(i)
            if kind in _ADDRESSED:
                size = MemorySizeInfo(self.instruction.memory_size).size
                masked = {"memory": MEMORY["MEMORY_MASKED"], "access": self.access[i], "operand_bytes": size}
                return fields | masked
        if self.mnemonic == "ENTER" or (self.touches_memory and not self.instruction.is_stack_instruction):
            return fields | {"memory": MEMORY["MEMORY_OTHER"], "access": 3, "operand_bytes": 0xFFFF}
        return fields

    def memory_operand(self, i: int) -> dict[str, int]:
        instruction, form = self.instruction, self.forms[i]
        kind = "MEMORY_VECTOR" if "VSIB" in form else "MEMORY_OPERAND"
        if form in ("SIBMEM", "SEG_RBX_AL") or self.mnemonic in ("MOVDIR64B", "ENQCMD", "ENQCMDS"):
            kind = "MEMORY_OTHER"
        size = MemorySizeInfo(instruction.memory_size).size
        fields = {"memory": MEMORY[kind], "access": self.access[i]}
        fields["operand_bytes"] = size or (0xFFFF if self.access[i] else 0)
        fields["bit_offset"] = self.mnemonic in ("BT", "BTS", "BTR", "BTC") and "IMM8" not in self.forms
        fields["segment"] = SEGMENT_PREFIXES[instruction.segment_prefix] if self.segmented() else 0
        if form == "SEG_RBX_AL":
            return fields
        fields["rip_relative"] = instruction.is_ip_rel_memory_operand
        displacement = instruction.memory_displacement
        if fields["rip_relative"]:
            displacement -= instruction.next_ip
        else:
            fields["base"] = self.register(instruction.memory_base)
            fields["index"] = self.register(instruction.memory_index)
            # A scale without an index means nothing; decode.h says 1.
            fields["scale"] = instruction.memory_index_scale if fields["index"] != NONE else 1
        wide = 16 if self.sixteen_bit() else 32
        fields["displacement"] = _signed(displacement, wide)
        return fields

    def segmented(self) -> bool:
        """Whether a segment prefix is in effect: in 64-bit mode only fs and gs count."""
        return self.bits == 32 or self.instruction.segment_prefix in (Register.FS, Register.GS)

    def sixteen_bit(self) -> bool:
        """Whether the address is formed from 16-bit registers."""
        names = {REGISTERS[self.instruction.memory_base], REGISTERS[self.instruction.memory_index]}
        return self.constants.displacement_size == 2 or bool(names & {"BX", "BP", "SI", "DI"})

    @staticmethod
    def register(register: int) -> int:
        """General register number, or the number of a vector index."""
        if register == Register.NONE:
            return NONE
        general = GENERAL[register]
        return int(REGISTERS[register][3:]) if general is None else general

    def stack(self) -> dict[str, int]:
        instruction = self.instruction
        increment = instruction.stack_pointer_increment
        far = self.mnemonic.startswith(("IRET", "RETF", "SYSEXIT", "UIRET", "ERET"))
        if self.mnemonic == "LEAVE":
            whole = not CODES[instruction.code].endswith("W")
            return {"stack": STACK["STACK_LEAVE" if whole else "STACK_LOADED"], "stack_bytes": self.bits // 8 * whole}
        loaded = self.loads_stack_pointer()
        if self.mnemonic == "ENTER" or far:
            return {"stack": STACK["STACK_LOADED"], "stack_bytes": 0}
        if instruction.is_stack_instruction:
            effect = "STACK_LOADED" if loaded else "STACK_PUSH" if increment < 0 else "STACK_POP"
            return {"stack": STACK[effect], "stack_bytes": abs(increment)}
        effect = "STACK_NONE" if not loaded else "STACK_ADJUST" if self.adjusts() else "STACK_LOADED"
        return {"stack": STACK[effect], "stack_bytes": 0}

    def loads_stack_pointer(self) -> bool:
        """Whether an operand, or something implicit that is no push or pop, writes rsp or a part of it."""
        operands = any(
            kind == OpKind.REGISTER and self.access[i] & 2 and GENERAL.get(self.instruction.op_register(i)) == RSP
            for i, kind in enumerate(self.kinds)
        )
        if operands or self.instruction.is_stack_instruction:
            return operands
        return any(GENERAL.get(u.register) == RSP and u.access in _WRITES for u in self.used)

    def adjusts(self) -> bool:
        """Whether rsp moves by a constant."""
        instruction = self.instruction
        if instruction.op_register(0) not in FULL[self.bits]:
            return False
        if self.mnemonic == "LEA":
            wide = instruction.memory_base in FULL[self.bits] and GENERAL[instruction.memory_base] == RSP
            return wide and instruction.memory_index == Register.NONE
        constant = all(kind not in _ADDRESSED and kind != OpKind.REGISTER for kind in self.kinds[1:])
        return self.mnemonic in ("ADD", "SUB", "AND", "INC", "DEC") and constant

    def registers(self) -> dict[str, int]:
        reads = writes = 0
        for usage in self.used:
            number = GENERAL.get(usage.register)
            if number is not None:
                reads |= (usage.access in _READS) << number
                writes |= (usage.access in _WRITES) << number
        if OpKind.MEMORY in self.kinds and self.access[self.kinds.index(OpKind.MEMORY)] == 0:
            # iced-x86 counts no address registers for nop, ud0 and ud1; decode.h counts them always.
            for register in (self.instruction.memory_base, self.instruction.memory_index):
                reads |= _bit(register)
        if self.mnemonic in ("XOR", "SUB", "SBB", "CMP") and self.same_register():
            # iced-x86 knows that the result does not depend on the register; the decoder does not look.
            reads |= _bit(self.instruction.op_register(0))
        return {"reads": reads, "writes": writes}

    def same_register(self) -> bool:
        if self.kinds[:2] != [OpKind.REGISTER] * 2:
            return False
        return self.instruction.op_register(0) == self.instruction.op_register(1)

    def flags(self) -> dict[str, int]:
        written = _flags(self.instruction.rflags_modified)
        by_count = "CL" in self.forms or (self.mnemonic in ("RCL", "RCR") and "IMM8" in self.forms)
        if by_count and self.mnemonic in ("ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SAL", "SAR", "SHLD", "SHRD"):
            written = 0  # the count may be 0 (rcl, rcr: a multiple of size + 1), then no flag changes
        if self.string and (self.instruction.has_rep_prefix or self.instruction.has_repne_prefix):
            written = 0  # rcx may be 0
        reads = _flags(self.instruction.rflags_read)
        if self.mnemonic in ("RCL", "RCR"):
            reads |= 1  # iced-x86 counts no read if the immediate count is 0 after masking
        return {"flags_read": reads, "flags_written": written}


def _bit(register: int) -> int:
    """Of the general register that contains `register`; 0 if none does."""
    number = GENERAL.get(register)
    return 0 if number is None else 1 << number


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def compare(expectation: Expectation, record: Record) -> dict[str, tuple[int, int]]:
    """Fields that differ: (expected, reported)."""
    fields = expectation.fields()
    if fields["vex"] == 2:
        fields["vex"] = record.vex if record.vex in (2, 3) else 2
    return {
        name: (int(value), int(getattr(record, name)))
        for name, value in fields.items()
        if int(value) != int(getattr(record, name))
    }
