"""A predicate means what docs/checks.md says: each of these holds at run time exactly where the same in C does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Tool, execute, recoveries, symbol_address

# a, b, c are in rdi, rsi, rdx; m is an array of bytes to which rcx points; r8 is NULL or m too, by `there`.
MEANT = {
    "rdi < rsi": "a < b",
    "rdi <s rsi": "(int64_t)a < (int64_t)b",
    "rdi >= rsi": "a >= b",
    "rdi >s rsi": "(int64_t)a > (int64_t)b",
    "edi <= 64": "(uint32_t)a <= 64",
    "edi >s -5": "(int32_t)a > -5",
    "edi == -1": "(int32_t)a == -1",
    "rdi != -1": "a != -1ull",
    "dil != sil": "(uint8_t)a != (uint8_t)b",
    "di >=s si": "(int16_t)a >= (int16_t)b",
    "dh == 3": "(c >> 8 & 255) == 3",
    "rdi & 3 == 1": "(a & 3) == 1",
    "(rdi + rsi) * 3 - 1 > 0xffffffff00000000": "(a + b) * 3 - 1 > 0xffffffff00000000",
    "u16[rcx+2] + 1 == 0x504": "*(uint16_t *)(m + 2) + 1 == 0x504",
    "i8[rcx + (rdi & 7)] <s 0": "(int8_t)m[a & 7] < 0",
    "u64[rcx + (sil & 1)*8] > 0x8000000000000000": "((uint64_t *)m)[b & 1] > 0x8000000000000000",
    "not (rdi == 0 or rsi == 0) and rdx - 1 < 100": "!(a == 0 || b == 0) && c - 1 < 100",
    "r8 == 0 or u32[r8] == 0x6030201": "!there",
    "r8 != 0 and u32[r8] < 5": "0",
    "not (r8 != 0 and u32[r8+4] < 5)": "1",
    "u32[r8] < 5": "!there",
    "u32[r8] < 5 and rdi < rsi": "!there && a < b",
    "u32[r8] < 5 or rdi < rsi": "!there || a < b",
    "u64[fs+0x10] == u64[fs]": "1",
    " or ".join(f"rdi == {0x1111111111111111 * i:#x}" for i in range(1, 12)): "a && a % 0x1111111111111111 == 0 && "
    "a / 0x1111111111111111 < 12",
}

FUNCTION = """
long site{i}(uint64_t a, uint64_t b, uint64_t c, const uint8_t *m, const void *p);
__asm__(".text; .globl site{i}, at{i}; .type site{i}, @function; .p2align 4; site{i}: .cfi_startproc; nop;"
        "mov $2, %eax;"
        "at{i}: mov $1, %eax; ret; .cfi_endproc; .size site{i}, . - site{i}");
"""
CALL = """
        if ((site{i}(a, b, c, m, there ? m : 0) == 1) != !!({meant}))
            printf("{i}: %#lx %#lx %#lx %d\\n", a, b, c, there);"""
PROGRAM = """
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
{functions}
static uint64_t next(void) {{
    static uint64_t s = 88172645463325252ull;
    return s ^= s << 13, s ^= s >> 7, s ^= s << 17;
}}
static uint64_t operand(void) {{
    const uint64_t edges[] = {{0, 1, 3, 64, 65, 100, 0x7f, 0x80, 0x300, 0x7fff, 0x8000, 0x7fffffff, 0x80000000,
                              0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, -1ull, -5ull, -4ull,
                              0x3333333333333333}};
    return next() & 1 ? edges[next() % 20] : next() >> next() % 64;
}}
int main(void) {{
    alarm(50);
    for (int n = 0; n < 400; n++) {{
        const uint64_t a = operand(), b = next() & 3 ? operand() : a, c = operand();
        const uint8_t m[16] = {{1, 2, 3, 5, 0x80, 0xff, 7, 8, 9, 9, 9, 9, 9, 9, 9, 0x99}};
        const int there = n & 1;{calls}
    }}
    puts("end");
    return 0;
}}
"""


@pytest.mark.parametrize("flags", [("-pie", "-fPIE"), ("-static", "-no-pie", "-fno-pie")], ids=["pie", "static"])
def test_predicates_mean_the_same_as_in_c(tool: Tool, tmp_path: Path, flags: tuple[str, ...]) -> None:
    functions = "".join(FUNCTION.format(i=i) for i in range(len(MEANT)))
    calls = "".join(CALL.format(i=i, meant=meant) for i, meant in enumerate(MEANT.values()))
    source, program, hardened = tmp_path / "p.c", tmp_path / "program", tmp_path / "hardened"
    source.write_text(PROGRAM.format(functions=functions, calls=calls))
    compiler = ["gcc"] if shutil.which("gcc") else [sys.executable, "-m", "ziglang", "cc"]
    done = subprocess.run([*compiler, "-O1", "-w", *flags, source, "-o", program], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    places = {i: symbol_address(program, f"at{i}") for i in range(len(MEANT))}
    asked = [w for i, text in enumerate(MEANT) for w in ("--require", f"{places[i]:#x}: {text}")]
    tool.patch(program, hardened, *asked, "--return", "-1")
    events = tmp_path / "events"
    assert execute([hardened], environment={"STEMRW_EVENTS": str(events)}).stdout == b"end\n"
    found = recoveries(events)
    assert {event["class"] for event in found} == {"predicate"}
    assert {int(event["pc"], 0) for event in found} <= set(places.values())
    assert execute([program]).stdout.count(b"\n") > len(MEANT)
