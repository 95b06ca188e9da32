/* A runtime that emulates nothing: each gate writes the address of its patch to descriptor 200, if that is open, and
 * goes on to the displaced instructions.  It isolates the rewriter: whatever breaks in a file hardened with this image
 * was broken by the rewriting, not by the emulation.
 */
#include "offsets.h"

#define TRACE_DESCRIPTOR 200
#define SYS_write 1

    .intel_syntax noprefix
    .section .text.gates, "ax", @progbits
    .globl gate_region, gate_start, gate_observe
    .type gate_region, @function
    .type gate_start, @function
    .type gate_observe, @function

/* In: r11 = struct patch, [rsp] = r11's value, 128 spare bytes above it.  Out: as at the function's entry, at the
 * displaced instructions.  Flags are kept: no arithmetic, and sysret restores them.  The target waits in the spare
 * bytes, which are below the stack pointer by the time of the jump; a signal's frame would start further down. */
gate_region:
gate_start:
gate_observe:
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r11
    mov eax, SYS_write
    mov edi, TRACE_DESCRIPTOR
    lea rsi, [r11 + OFFSET_patch_address]
    mov edx, 8
    syscall
    pop r11
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    mov eax, dword ptr [r11 + OFFSET_patch_displaced]
    lea r11, [rip + payload_header]
    lea r11, [r11 + rax]
    mov [rsp + 16 + 120], r11
    pop rax
    pop r11
    lea rsp, [rsp + 128]
    jmp qword ptr [rsp - 8]
