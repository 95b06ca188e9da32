/* A runtime that emulates nothing: each gate writes the address of its patch to descriptor 200, if that is open, and
 * goes on by the gate's native part.  It isolates the rewriter: whatever breaks in a file hardened with this image
 * was broken by the rewriting, not by the emulation.
 */
#include "offsets.h"

#define TRACE_DESCRIPTOR 200
#define SYS_write 1

    .intel_syntax noprefix
    .section .text.gates, "ax", @progbits
    .globl gate_region, gate_start, gate_observe, gate_protect, gate_stop
    .type gate_region, @function
    .type gate_start, @function
    .type gate_observe, @function
    .type gate_protect, @function
    .type gate_stop, @function

/* In: r11 = struct patch, [rsp] = r11's value.  Out: at the gate's native part, rsp and all other registers as found.
 * Flags are kept: no arithmetic, and sysret restores them. */
gate_region:
gate_start:
gate_observe:
gate_protect:
gate_stop:
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
    mov eax, dword ptr [r11 + OFFSET_patch_gate]
    lea r11, [rip + payload_header]
    lea r11, [r11 + rax + GATE_NATIVE]
    pop rax
    jmp r11
