"""Places where faults are reported, generated: kinds of accesses with all forms of addresses.

Each is a function with one such instruction; host.c fills the registers so that the operand lies at each of a list of
good and bad addresses, calls it, and prints what registers, flags and memory are then.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
_NO_REGISTER = 255
_WIDTHS = {1: "byte ptr", 2: "word ptr", 4: "dword ptr", 8: "qword ptr", 16: "xmmword ptr", 32: "ymmword ptr"}
_NARROW = {"rax": ("al", "ax", "eax"), "rcx": ("cl", "cx", "ecx"), "rdx": ("dl", "dx", "edx")}
_PREFIX = {1: "b", 2: "w", 4: "d", 8: "q"}


@dataclass(frozen=True)
class Kind:
    """An instruction with one operand in memory: its text with {m}, and how many bytes that has.

    `report` is the class of the fault that is reported there.  `fixed` names registers that the text uses, which make
    no address; `avx` says that the processor must have AVX2.
    """

    text: str
    size: int
    report: str = "null-dereference"
    fixed: tuple[str, ...] = ("rax",)
    avx: bool = False


def _register(size: int, name: str = "rax") -> str:
    return name if size == 8 else _NARROW[name][(1, 2, 4).index(size)]


def _integer_kinds() -> list[Kind]:
    found = []
    for size in (1, 2, 4, 8):
        a = _register(size)
        found += [Kind(f"{name} {a}, {{m}}", size) for name in ("mov", "add", "sbb", "cmp", "xor")]
        found += [Kind(f"{name} {{m}}, {a}", size) for name in ("mov", "adc", "and", "test", "xchg", "cmp")]
        found += [Kind(f"{name} {{m}}", size) for name in ("inc", "neg", "not")]
        found += [Kind(f"{name} {{m}}, 5", size) for name in ("mov", "sub", "or", "shl", "ror", "rcl")]
        found += [Kind("sar {m}, cl", size, fixed=("rax", "rcx")), Kind(f"lock xadd {{m}}, {a}", size)]
        found += [Kind(f"lock cmpxchg {{m}}, {_register(size, 'rcx')}", size, fixed=("rax", "rcx"))]
        found += [Kind(f"lock {name} {{m}}, {a}", size) for name in ("add", "or")]
        found += [Kind(f"{name} {{m}}", size, fixed=("rax", "rdx")) for name in ("mul", "imul")]
        found += [Kind(f"{name} {{m}}", size, "divide", ("rax", "rdx")) for name in ("div", "idiv")]
        if size > 1:
            found += [Kind(f"{name} {a}, {{m}}", size) for name in ("imul", "cmovb", "bsf", "tzcnt", "popcnt", "movbe")]
            found += [Kind(f"{name} {{m}}, 3", size) for name in ("bt", "bts", "lock btr")]
            found += [Kind(f"movbe {{m}}, {a}", size), Kind(f"shld {{m}}, {a}, 3", size)]
            found += [Kind(f"bt {{m}}, {_register(size, 'rcx')}", size, fixed=("rax", "rcx"))]
    found += [Kind("push {m}", 8), Kind("pop {m}", 8), Kind("sete {m}", 1), Kind("movnti {m}, rax", 8)]
    found += [
        Kind("movzx eax, {m}", 2),
        Kind("movsx rax, {m}", 1),
        Kind("movsxd rax, {m}", 4),
        Kind("crc32 eax, {m}", 4),
    ]
    found += [Kind("lock cmpxchg8b {m}", 8, fixed=("rax", "rbx", "rcx", "rdx"))]
    found += [Kind("lock cmpxchg16b {m}", 16, fixed=("rax", "rbx", "rcx", "rdx"))]
    return found


def _vector_kinds() -> list[Kind]:
    found = [Kind(f"{name} xmm0, {{m}}", 16) for name in ("movaps", "movups", "movdqa", "movdqu", "lddqu", "movntdqa")]
    found += [Kind(f"{name} xmm0, {{m}}", 16) for name in ("paddd", "pshufb", "mulps", "pcmpeqb", "ptest", "aesenc")]
    found += [
        Kind(f"{name} {{m}}, xmm0", 16) for name in ("movaps", "movups", "movdqa", "movdqu", "movntdq", "movntps")
    ]
    found += [Kind(f"{name} xmm0, {{m}}", 8) for name in ("movq", "addsd", "cvtps2pd", "movlps", "movhps", "pmovzxbw")]
    found += [Kind(f"{name} {{m}}, xmm0", 8) for name in ("movq", "movlps", "movhps")]
    found += [Kind(f"{name} xmm0, {{m}}", 4) for name in ("movss", "movd", "addss")]
    found += [Kind("movss {m}, xmm0", 4), Kind("pextrb {m}, xmm0, 3", 1), Kind("pinsrw xmm0, {m}, 2", 2)]
    found += [Kind(f"{name} ymm0, {{m}}", 32, avx=True) for name in ("vmovaps", "vmovups", "vmovdqa", "vlddqu")]
    found += [Kind(f"{name} ymm0, ymm1, {{m}}", 32, avx=True) for name in ("vpaddd", "vxorps")]
    found += [Kind(f"{name} {{m}}, ymm0", 32, avx=True) for name in ("vmovaps", "vmovups", "vmovdqu", "vmovntdq")]
    found += [Kind("vaddps xmm0, xmm1, {m}", 16, avx=True), Kind("vbroadcastss ymm0, {m}", 4, avx=True)]
    found += [Kind("vmaskmovps {m}, ymm1, ymm0", 32, avx=True), Kind("vmovdqa {m}, xmm0", 16, avx=True)]
    x87 = (("fld", 4), ("fld", 8), ("fild", 2), ("fild", 8))
    found += [Kind(f"{name} {{m}}; fstp st(0)", size) for name, size in x87]
    found += [Kind("stmxcsr {m}", 4), Kind("fnstcw {m}", 2), Kind("fnstsw {m}", 2)]
    return found


def _harmless_kinds() -> list[Kind]:
    """What names an address and does not fault."""
    return [Kind("prefetcht0 {m}", 1), Kind("prefetchw {m}", 1), Kind("nop {m}", 4), Kind("lea rax, {m}", 8)]


@dataclass(frozen=True)
class Operand:
    """How an operand's address is made, as host.c has it: registers by number, the fs base, half of each register."""

    base: int
    index: int = _NO_REGISTER
    scale: int = 1
    displacement: int = 0
    segment: bool = False
    narrow: bool = False

    def text(self) -> str:
        """In assembly, without its width."""
        base, index = (GENERAL[number] if number != _NO_REGISTER else "" for number in (self.base, self.index))
        if self.narrow:
            base, index = _half(base), _half(index)
        parts = [base, f"{index}*{self.scale}" if index else "", str(self.displacement)]
        return f"{'fs:' if self.segment else ''}[{' + '.join(part for part in parts if part)}]"


@dataclass(frozen=True)
class Site:
    """A function with one instruction that may fault; `string` is 1 for a string instruction, 2 for one downwards."""

    name: str
    report: str
    instruction: str
    operand: Operand
    size: int
    string: int = 0

    def row(self) -> str:
        """Its line in the host's table."""
        o = self.operand
        numbers = (o.base, o.index, o.scale, o.displacement, self.size, int(o.segment), int(o.narrow), self.string)
        return f'{{"{self.name}", {self.name}, {", ".join(map(str, numbers))}}},'


def _function(name: str, instruction: str) -> str:
    saved = ("rbx", "rbp", "r12", "r13", "r14", "r15")
    lines = [f".globl {name}, at_{name}", f".type {name}, @function", ".p2align 4", f"{name}: .cfi_startproc"]
    lines += [f"push {register}; .cfi_adjust_cfa_offset 8" for register in saved]
    lines += ["push rdi; .cfi_adjust_cfa_offset 8"]
    lines += ["movups xmm0, [rdi + 128]", "movups xmm1, [rdi + 144]"]
    loaded = [register for register in GENERAL if register not in ("rsp", "rdi")]
    lines += [f"mov {register}, [rdi + {8 * GENERAL.index(register)}]" for register in loaded]
    lines += ["push [rdi + 160]", "popfq", f"mov rdi, [rdi + {8 * GENERAL.index('rdi')}]"]
    first, _, rest = instruction.partition("; ")
    lines += [f"at_{name}: {first}", *([rest] if rest else [])]
    lines += ["pushfq", "cld", "push rdi", "mov rdi, [rsp + 16]"]
    kept = [register for register in GENERAL if register not in ("rsp", "rdi")]
    lines += [f"mov [rdi + {8 * GENERAL.index(register)}], {register}" for register in kept]
    lines += [f"pop [rdi + {8 * GENERAL.index('rdi')}]", "pop [rdi + 160]", "movups [rdi + 128], xmm0"]
    lines += ["add rsp, 8; .cfi_adjust_cfa_offset -8", "mov eax, 1"]
    lines += [f"pop {register}; .cfi_adjust_cfa_offset -8" for register in reversed(saved)]
    return "\n".join([*lines, "ret", ".cfi_endproc", f".size {name}, . - {name}"])


def _operand(kind: Kind, choice: random.Random) -> Operand:
    free = [number for number, register in enumerate(GENERAL) if register not in (*kind.fixed, "rsp")]
    base, index = choice.choice([*free, _NO_REGISTER]), choice.choice([*free, _NO_REGISTER])
    if base == index:
        base, index = choice.choice(free), _NO_REGISTER
    return Operand(
        base,
        index,
        scale=1 if index == _NO_REGISTER else choice.choice((1, 2, 4, 8)),
        displacement=choice.choice((0, 8, -64, 0x7F, 0x1000, -0x12340, 0x7FFFFF0)),
        segment=choice.random() < 0.15,
        narrow=choice.random() < 0.1,
    )


def _half(register: str) -> str:
    return f"{register}d" if register[1:].isdigit() else register.replace("r", "e", 1)


def _strings() -> list[tuple[str, int, int]]:
    """Text, bytes, and which pointers are tried: 1 rdi, 2 rsi, 3 each of both."""
    found = []
    for size, letter in _PREFIX.items():
        for prefix in ("", "rep ", "std; "):
            found += [(f"{prefix}movs{letter}", size, 3), (f"{prefix}stos{letter}", size, 1)]
            found += [(f"{prefix}lods{letter}", size, 2)]
        for prefix in ("", "repe ", "repne "):
            found += [(f"{prefix}cmps{letter}", size, 3), (f"{prefix}scas{letter}", size, 1)]
    return found


def _string_site(name: str, choice: random.Random) -> Site:
    text, size, pointers = choice.choice(_strings())
    which = choice.choice([bit for bit in (1, 2) if pointers & bit])
    operand = Operand(GENERAL.index("rdi" if which == 1 else "rsi"))
    return Site(name, "null-dereference", text.removeprefix("std; "), operand, size, 2 if "std" in text else 1)


def generate(count: int, seed: int, *, avx: bool) -> list[Site]:
    """`count` sites, the same for the same seed."""
    choice = random.Random(seed)
    kinds = [kind for kind in _integer_kinds() + _vector_kinds() + _harmless_kinds() if avx or not kind.avx]
    found = []
    for number in range(count):
        name = f"site{number}"
        if choice.random() < 0.15:
            found.append(_string_site(name, choice))
            continue
        kind = choice.choice(kinds)
        operand = _operand(kind, choice)
        width = "" if kind.text.startswith(("lea", "prefetch")) else f"{_WIDTHS[kind.size]} "
        text = kind.text.format(m=width + operand.text())
        found.append(Site(name, kind.report, text, operand, kind.size))
    return found


def write(sites: list[Site], folder: Path) -> None:
    """sites.S and sites.h in `folder`."""
    functions = [_function(site.name, site.instruction) for site in sites]
    mark = '.section .note.GNU-stack, "", @progbits'
    (folder / "sites.S").write_text("\n".join([".intel_syntax noprefix", ".text", *functions, mark, ""]))
    lines = [f"long {site.name}(struct state *);" for site in sites]
    lines += ["static const struct site sites[] = {", *(site.row() for site in sites), "};", ""]
    (folder / "sites.h").write_text("\n".join(lines))
