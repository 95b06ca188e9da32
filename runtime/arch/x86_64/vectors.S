/* Reading vector registers by number: one instruction each, eight bytes apart. */
    .intel_syntax noprefix
    .text

/* To the entry of that number of a table that follows. */
.macro by_number table, number
    lea rax, [rip + \table]
    lea rax, [rax + \number * 8]
    jmp rax
    .balign 8
.endm

/* Encoded by hand: assemblers ask for the extension to be switched on. */
.macro store_group p0 /* vmovdqu64 [rdi], zmm: eight registers, by the inverted R and R' in the second byte */
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7
    .byte 0x62, \p0, 0xfe, 0x48, 0x7f, 0x07 | \reg << 3
    ret
    nop
    .endr
.endm

/* void vector_read(uint8_t to[64], unsigned number) */
    .globl vector_read, vector_read_avx, vector_read_sse, mask_read, mask_read_wide
    .balign 8
vector_read:
    by_number .Lvectors, rsi
.Lvectors:
    store_group 0xf1
    store_group 0x71
    store_group 0xe1
    store_group 0x61

/* uint32_t mask_read(unsigned number) */
    .balign 8
mask_read:
    by_number .Lmasks, rdi
.Lmasks:
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7
    .byte 0xc5, 0xf8, 0x93, 0xc0 | \reg /* kmovw eax, k */
    ret
    nop
    nop
    nop
    .endr

/* uint64_t mask_read_wide(unsigned number) */
    .balign 8
mask_read_wide:
    by_number .Lwide_masks, rdi
.Lwide_masks:
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7
    .byte 0xc4, 0xe1, 0xfb, 0x93, 0xc0 | \reg /* kmovq rax, k */
    ret
    nop
    nop
    .endr

/* void vector_read_avx(uint8_t to[32], unsigned number) */
    .balign 8
vector_read_avx:
    by_number .Lavx, rsi
.Lavx:
    .irp high, 0xfe, 0x7e
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7
    .byte 0xc5, \high, 0x7f, 0x07 | \reg << 3 /* vmovdqu [rdi], ymm */
    ret
    nop
    nop
    nop
    .endr
    .endr

/* void vector_read_sse(uint8_t to[16], unsigned number) */
    .balign 8
vector_read_sse:
    by_number .Lsse, rsi
.Lsse:
    .irp rex, 0x40, 0x44
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7
    .byte 0xf3, \rex, 0x0f, 0x7f, 0x07 | \reg << 3 /* movdqu [rdi], xmm */
    ret
    nop
    nop
    .endr
    .endr

    .section .note.GNU-stack, "", @progbits
