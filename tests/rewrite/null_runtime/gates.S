/* A runtime that does nothing: each gate goes straight on to the displaced instructions.  It isolates the rewriter:
 * whatever breaks in a file hardened with this image was broken by the rewriting, not by the emulation. */
#include "offsets.h"

    .intel_syntax noprefix
    .section .text.gates, "ax", @progbits
    .globl gate_region, gate_start, gate_observe
    .type gate_region, @function
    .type gate_start, @function
    .type gate_observe, @function

/* In: r11 = struct patch, [rsp] = r11's value, 128 spare bytes above it.  Out: as at the function's entry, at the
 * displaced instructions.  Flags are kept: no arithmetic.  The target waits in the spare bytes, below the stack
 * pointer by the time of the jump; a signal between is harmless, since its frame starts 128 bytes further down. */
gate_region:
gate_start:
gate_observe:
    push rax
    mov eax, dword ptr [r11 + OFFSET_patch_displaced]
    lea r11, [rip + payload_header]
    lea r11, [r11 + rax]
    mov [rsp + 16 + 120], r11
    pop rax
    pop r11
    lea rsp, [rsp + 128]
    jmp qword ptr [rsp - 8]
