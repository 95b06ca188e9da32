"""One program in every kind of link, and one with hand-made parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from elf_programs import compile_program

PARTS = r"""
# A function whose unlikely parts lie elsewhere, as GCC lays them out: own unwind entry, own symbol, only jumped to.
    .text
    .globl main, plain, framed, framed.cold, leafy, leafy_part, fatal, fatal_caller, returns, tail, spin
    .type framed, @function
framed:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_offset %rbx, -16
    test %rdi, %rdi
    je framed.cold
    mov (%rdi), %rbx
    lea 1(%rbx), %eax
    pop %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size framed, . - framed

    .type leafy, @function
leafy:                          # its part begins with an untouched frame: only the kind of entry tells
    .cfi_startproc
    test %rdi, %rdi
    je leafy_part
    mov $1, %eax
    ret
    .cfi_endproc
    .size leafy, . - leafy

    .type fatal, @function
fatal:                          # never returns
    .cfi_startproc
    push %rax
    .cfi_adjust_cfa_offset 8
    call abort@PLT
    .cfi_endproc
    .size fatal, . - fatal

    .type fatal_caller, @function
fatal_caller:                   # returns on one way only
    .cfi_startproc
    push %rax
    .cfi_adjust_cfa_offset 8
    test %edi, %edi
    je 1f
    call fatal
1:  xor %eax, %eax
    pop %rcx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size fatal_caller, . - fatal_caller

    .type tail, @function
tail:                           # returns through another function
    .cfi_startproc
    mov $2, %edi
    jmp plain
    .cfi_endproc
    .size tail, . - tail

    .type spin, @function
spin:
    .cfi_startproc
1:  pause
    jmp 1b
    .cfi_endproc
    .size spin, . - spin

    .type plain, @function
plain:
    .cfi_startproc
    lea 3(%rdi), %eax
    ret
    .cfi_endproc
    .size plain, . - plain

    .type main, @function
main:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    lea main(%rip), %rdi
    call framed
    lea main(%rip), %rdi
    call leafy
    call tail
    xor %edi, %edi
    call fatal_caller
    xor %eax, %eax
    pop %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size main, . - main

    .section .text.unlikely, "ax", @progbits
    .type framed.cold, @function
framed.cold:
    .cfi_startproc
    .cfi_adjust_cfa_offset 8
    .cfi_offset %rbx, -16
    mov 0, %eax
    ud2
    .cfi_endproc
    .size framed.cold, . - framed.cold

    .type leafy_part, @function
leafy_part:
    .cfi_startproc
    mov 0x18, %eax
    ud2
    .cfi_endproc
    .size leafy_part, . - leafy_part
    .section .note.GNU-stack, "", @progbits
"""


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program in assembly with parts split off functions, and with functions that never return."""
    return compile_program(tmp_path_factory.mktemp("parts"), PARTS, name="parts.S")


HELLO = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct pair { double x, y; };
typedef unsigned long count;
__attribute__((noinline)) int give_int(const char *s) { return (int)strlen(s) * 3; }
__attribute__((noinline)) count give_count(const char *s) { return strlen(s) + 9; }
__attribute__((noinline)) const char *give_pointer(const char *s) { return s + 1; }
__attribute__((noinline)) _Bool give_bool(const char *s) { return s[0] == 'x'; }
__attribute__((noinline)) void give_nothing(const char *s) { puts(s); }
__attribute__((noinline)) double give_double(const char *s) { return atof(s); }
__attribute__((noinline)) float give_float(const char *s) { return (float)atof(s); }
__attribute__((noinline)) struct pair give_pair(const char *s) { struct pair p = {atof(s), 1}; return p; }
int main(int argc, char **argv) {
    const char *s = argv[argc - 1];
    give_nothing(give_pointer(s));
    printf("%d %lu %d %f %f %f\\n", give_int(s), give_count(s), give_bool(s), give_double(s), (double)give_float(s),
           give_pair(s).x);
    return 0;
}
"""


@pytest.fixture(scope="session")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A C program with debugging information and functions of every kind of result."""
    return compile_program(tmp_path_factory.mktemp("hello"), HELLO, "-g", name="hello.c")
