"""Every instruction form of 64-bit mode, and why some are left out of the comparison.

A form is one of iced-x86's codes: an encoding with its kinds of operands, such as `VPADDD ymm1 {k1}{z}, ymm2,
ymm3/m256/m32bcst`.  Whether the processor has it is found out by running it.
"""

# mypy: disable-error-code="unreachable"
from __future__ import annotations

from typing import Any

from iced_x86 import (
    Code,
    CpuidFeature,
    DecoderOptions,
    EncodingKind,
    Instruction,
    Mnemonic,
    OpCodeInfo,
    OpCodeOperandKind,
)

Form = Any
"""A value of one of iced-x86's enumerations, which are modules to type checkers."""


def _names(enumeration: object) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if name.isupper()}


MNEMONICS, KINDS, FEATURES = _names(Mnemonic), _names(OpCodeOperandKind), _names(CpuidFeature)
CODES: dict[Form, str] = _names(Code)

_SYSTEM_CALLS = {"SYSCALL", "SYSENTER"}
_FAR = {"IRET", "IRETD", "IRETQ", "RETF", "UIRET", "SYSEXIT", "SYSEXITQ", "SYSRET", "SYSRETQ", "ERETS", "ERETU"}
_SEGMENTS = {"LDS", "LES", "LFS", "LGS", "LSS", "RDFSBASE", "RDGSBASE", "WRFSBASE", "WRGSBASE", "SWAPGS", "LKGS"}
_VIRTUALISATION = {"VMX", "SVM", "SMX", "SGX1", "TDX", "SEAM", "SKINIT", "SKINIT_OR_SVM", "SEV_ES", "SEV_SNP", "SEV"}
_UNBUILT = {"TMM_REG", "TMM_RM", "TMM_VVVV", "SIBMEM", "CR_REG", "DR_REG", "TR_REG"}


def left_out(code: Form) -> str | None:
    """Why a form is not compared; None if it is."""
    info = OpCodeInfo(code)
    mnemonic = MNEMONICS[info.mnemonic]
    kinds = {KINDS[kind] for kind in info.op_kinds()}
    if info.must_be_cpl0 or info.is_input_output or info.is_privileged or not info.cpl3 or mnemonic == "RSM":
        return "privileged: faults in every program"
    if mnemonic in _SYSTEM_CALLS:
        return "system calls: their effects are the kernel's"
    if mnemonic in _FAR or kinds & {"FARBR2_2", "FARBR4_2"} or CODES[code].startswith(("CALL_M16", "JMP_M16")):
        return "far transfers: change the code segment, run natively"
    writes_segment = "SEG_REG" in kinds and KINDS[info.op_kind(0)] == "SEG_REG"
    if mnemonic in _SEGMENTS or writes_segment or (mnemonic == "POP" and kinds & {"FS", "GS"}):
        return "segment registers and their bases: the ground that the host itself stands on; run natively"
    if mnemonic in ("XBEGIN",):
        return "transactions: whether one aborts is the processor's own choice; the emulator aborts them all"
    if not info.intel_decoder64:
        return "near branches with 16-bit operand size: AMD and Intel execute them differently; run natively"
    if kinds & _UNBUILT:
        return "tiles (AMX), control and debug registers"
    if (
        _VIRTUALISATION & _features(code)
        or mnemonic.startswith(("VM", "ENCL", "TDCALL", "SEAM", "PCONFIG"))
        and (info.encoding == EncodingKind.LEGACY and "XMM_REG" not in kinds)
    ):
        return "virtualisation and enclaves"
    if info.encoding in (EncodingKind.D3NOW, EncodingKind.XOP, EncodingKind.MVEX):
        return "3DNow!, XOP, Knights Corner: processors that are gone"
    if info.decoder_option != DecoderOptions.NONE:
        return "encodings of single old processors"
    return None


_SPECIAL = {"SLDT", "STR", "SMSW", "SGDT", "SIDT", "RDPMC", "ENQCMD", "WRPKRU", "PCONFIG"}


def is_native(code: Form) -> bool:
    """Whether the emulator leaves a form to native execution, which commits the region and is counted: what asks for
    selectors and descriptor tables, bounds registers (MPX), performance counters, protection keys, work queues."""
    mnemonic, kinds = MNEMONICS[OpCodeInfo(code).mnemonic], {KINDS[kind] for kind in OpCodeInfo(code).op_kinds()}
    bounds = mnemonic == "RESERVEDNOP" and CODES[code].endswith(("0F1A", "0F1B"))
    return mnemonic in _SPECIAL or bounds or bool(kinds & {"SEG_REG", "FS", "GS", "BND_REG", "BND_OR_MEM_MPX"})


def _features(code: Form) -> set[str]:
    instruction = Instruction()
    instruction.code = code
    return {FEATURES[feature] for feature in instruction.cpuid_features()}


def forms() -> list[Form]:
    """The codes that are compared, ascending."""
    return [code for code in _in_64_bit_mode() if left_out(code) is None]


def reasons_left_out() -> dict[str, list[str]]:
    """Reason to the names of the codes that it leaves out."""
    found: dict[str, list[str]] = {}
    for code in _in_64_bit_mode():
        reason = left_out(code)
        if reason is not None:
            found.setdefault(reason, []).append(CODES[code])
    return found


def _in_64_bit_mode() -> list[Form]:
    infos = ((code, OpCodeInfo(code)) for code in sorted(CODES))
    return [
        code
        for code, info in infos
        if info.is_instruction and info.mode64 and (info.intel_decoder64 or info.amd_decoder64)
    ]
