/* Into a case and back.  Linked at a fixed address: everything here is reached by absolute addresses, so that no
 * register is needed. */
#include "machine.h"

    .intel_syntax noprefix
    .bss
    .balign 64
    .globl before, in, out, after, case_slot, xsave_mask
before:     .skip MACHINE_XSAVE + XSAVE_BYTES
    .balign 64
in:         .skip MACHINE_XSAVE + XSAVE_BYTES
    .balign 64
out:        .skip MACHINE_XSAVE + XSAVE_BYTES
    .balign 64
after:      .skip MACHINE_XSAVE + XSAVE_BYTES
case_slot:  .skip 8
xsave_mask: .skip 8
way_slot:   .skip 8
host_stack: .skip 8
run_stack:  .skip 8

    .text
/* \machine := the general registers, but for rsp */
.macro store_general machine
    mov [\machine + 0], rax
    mov [\machine + 8], rcx
    mov [\machine + 16], rdx
    mov [\machine + 24], rbx
    mov [\machine + 40], rbp
    mov [\machine + 48], rsi
    mov [\machine + 56], rdi
    mov [\machine + 64], r8
    mov [\machine + 72], r9
    mov [\machine + 80], r10
    mov [\machine + 88], r11
    mov [\machine + 96], r12
    mov [\machine + 104], r13
    mov [\machine + 112], r14
    mov [\machine + 120], r15
.endm

.macro load_general machine
    mov rax, [\machine + 0]
    mov rcx, [\machine + 8]
    mov rdx, [\machine + 16]
    mov rbx, [\machine + 24]
    mov rbp, [\machine + 40]
    mov rsi, [\machine + 48]
    mov rdi, [\machine + 56]
    mov r8, [\machine + 64]
    mov r9, [\machine + 72]
    mov r10, [\machine + 80]
    mov r11, [\machine + 88]
    mov r12, [\machine + 96]
    mov r13, [\machine + 104]
    mov r14, [\machine + 112]
    mov r15, [\machine + 120]
.endm

.macro function name
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
.endm

.macro ends name
    .cfi_endproc
    .size \name, . - \name
.endm

/* void run(void (*way)(void)): with the registers of `before`, on the stack at STACK_TOP; they go to `after`. */
function run
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [way_slot], rdi
    mov [host_stack], rsp
    mov rsp, STACK_TOP
    fldcw [before + MACHINE_X87]
    ldmxcsr [before + MACHINE_MXCSR]
    load_general before
    call [way_slot]
    store_general after
    mov [after + 32], rsp
    pushfq
    pop [after + MACHINE_FLAGS]
    stmxcsr [after + MACHINE_MXCSR]
    fnstcw [after + MACHINE_X87]
    cld
    fninit
    mov dword ptr [way_slot], 0x1f80
    ldmxcsr [way_slot]
    mov rsp, [host_stack]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
ends run

.macro way name
    function \name
    mov [run_stack], rsp
    jmp load_state
    nop
    nop
    ends \name
    .balign 16
.endm

    way run_native
    way run_region
    way run_observed

/* `in` → processor → the case */
function load_state
    mov eax, [xsave_mask]
    mov edx, [xsave_mask + 4]
    xrstor64 [in + MACHINE_XSAVE]
    push [in + MACHINE_FLAGS]
    popfq
    mov rsp, [in + 32]
    load_general in
    jmp [case_slot]
ends load_state

/* processor → `out`; back to the caller of the way */
    .globl finish, finish_taken, finish_fault, undo
finish_fault:
    mov qword ptr [out + MACHINE_EXIT], EXIT_FAULT
    jmp 1f
finish_taken:
    mov qword ptr [out + MACHINE_EXIT], EXIT_TAKEN
    jmp 1f
finish:
    mov qword ptr [out + MACHINE_EXIT], EXIT_NEXT
1:  store_general out
    mov [out + 32], rsp
    mov rsp, [run_stack]
    pushfq
    pop [out + MACHINE_FLAGS]
    cld
    mov eax, [xsave_mask]
    mov edx, [xsave_mask + 4]
    xsave64 [out + MACHINE_XSAVE]
    fninit
    ldmxcsr [before + MACHINE_MXCSR]
    fldcw [before + MACHINE_X87]
    ret

undo:
    ud2

    .section .note.GNU-stack, "", @progbits
