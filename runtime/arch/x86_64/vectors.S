/* Reading vector registers by number: one instruction each, eight bytes apart. */
    .intel_syntax noprefix
    .text

/* Encoded by hand: assemblers ask for the extension to be switched on. */
.macro store_group p0 /* vmovdqu64 [rdi], zmm: eight registers, by the inverted R and R' in the second byte */
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7
    .byte 0x62, \p0, 0xfe, 0x48, 0x7f, 0x07 | \reg << 3
    ret
    nop
    .endr
.endm

/* void vector_read(uint8_t to[64], unsigned number) */
    .globl vector_read, mask_read
    .balign 8
vector_read:
    lea rax, [rip + .Lvectors]
    lea rax, [rax + rsi * 8]
    jmp rax
    .balign 8
.Lvectors:
    store_group 0xf1
    store_group 0x71
    store_group 0xe1
    store_group 0x61

/* uint32_t mask_read(unsigned number) */
    .balign 8
mask_read:
    lea rax, [rip + .Lmasks]
    lea rax, [rax + rdi * 8]
    jmp rax
    .balign 8
.Lmasks:
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7
    .byte 0xc5, 0xf8, 0x93, 0xc0 | \reg /* kmovw eax, k */
    ret
    nop
    nop
    nop
    .endr

    .section .note.GNU-stack, "", @progbits
