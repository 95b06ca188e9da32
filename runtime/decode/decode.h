/* x86 instruction decoder: exactly what the translator needs, nothing it does not.
 *
 * The decoder says how long an instruction is, where its parts lie, what memory it touches (implicit operands
 * included), how control continues, and which general registers and flags it reads and writes.  It knows no semantics
 * and formats no text.  Its tables are generated (scripts/generate_decoder) and serve 64-bit and 32-bit mode.
 * Freestanding: no libc, no writable data, no relocations (tables hold no pointers).
 */
#ifndef STEMRW_DECODE_H
#define STEMRW_DECODE_H

#include <stdbool.h>
#include <stdint.h>

enum { REG_NONE = 0xff }; /* general registers are 0..15 = rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */

enum flow {
    FLOW_NEXT,          /* falls through, always */
    FLOW_JUMP,          /* direct jmp rel8/rel32: .target */
    FLOW_BRANCH,        /* jcc rel8/rel32: .target; condition code in low 4 bits of the last opcode byte */
    FLOW_LOOP,          /* loop/loopz/loopnz/jcxz/jecxz/jrcxz rel8: .target */
    FLOW_CALL,          /* call rel32: .target */
    FLOW_JUMP_INDIRECT, /* jmp r/m */
    FLOW_CALL_INDIRECT, /* call r/m */
    FLOW_RETURN,        /* ret, ret imm16 (.immediate) */
    FLOW_SYSCALL,       /* syscall, sysenter, int 0x80; .reads has all registers, .writes those of the CPU and rax */
    FLOW_TRAP,          /* int3, int1, ud0/ud1/ud2, int n, into, hlt and other instructions that fault in user mode */
    FLOW_TRANSACTION,   /* xbegin rel: .target; xabort, xend */
    FLOW_FAR,           /* far jmp/call/ret, iret, sysret …: not translated */
};

enum memory_kind {
    MEMORY_NONE,
    MEMORY_OPERAND, /* one ModRM (or moffs) operand: segment, base, index, scale, displacement */
    MEMORY_STRING,  /* rsi and/or rdi with direction flag, maybe repeated: movs stos lods scas cmps ins outs */
    MEMORY_MASKED,  /* [rdi] (or address-sized) masked: maskmovq, maskmovdqu */
    MEMORY_VECTOR,  /* vector index: gather, scatter */
    MEMORY_OTHER,   /* something else the translator must not guess at: AMX tiles, enter's frame chain, xlat,
                       monitor, clzero, movdir64b, enqcmd, PadLock */
};

enum access {
    ACCESS_NONE = 0,
    ACCESS_READ = 1,
    ACCESS_WRITE = 2,
    ACCESS_READ_WRITE = 3,
};

enum flag_bits { /* the six arithmetic flags, and DF, in one byte */
                 FLAG_CF = 1,
                 FLAG_PF = 2,
                 FLAG_AF = 4,
                 FLAG_ZF = 8,
                 FLAG_SF = 16,
                 FLAG_OF = 32,
                 FLAG_DF = 64,
                 FLAGS_ARITHMETIC = 63,
};

enum stack_effect {
    STACK_NONE,
    STACK_PUSH,   /* writes stack_bytes below rsp, rsp -= stack_bytes (push, pushf, pusha, call); a memory operand with
                     rsp as base counts from rsp before */
    STACK_POP,    /* reads at rsp, rsp += stack_bytes (pop, popf, popa, ret); pop [rsp+x] counts from rsp *after*;
                     pop rsp is STACK_LOADED (with stack_bytes) */
    STACK_ADJUST, /* add/sub/and/inc/dec/lea on all of rsp with an immediate or displacement from rsp itself */
    STACK_LEAVE,  /* leave; enter is STACK_LOADED and MEMORY_OTHER */
    STACK_LOADED, /* rsp gets any other value: mov rsp,r/m · xchg · pop rsp · lea rsp,[other] · add rsp,reg · add esp,8
                     in 64-bit mode */
};

struct instruction {
    uint8_t length;              /* bytes, 1..15 */
    uint8_t opcode_offset;       /* of the last opcode byte (the one after 0F / 0F38 / 0F3A / VEX…) */
    uint8_t modrm_offset;        /* 0: no ModRM byte */
    uint8_t displacement_offset; /* 0: no displacement (moffs: its offset) */
    uint8_t displacement_size;   /* 0, 1, 2, 4, 8 bytes as encoded */
    uint8_t immediate_offset;    /* 0: none (first immediate; relative branch displacement too) */
    uint8_t immediate_size;      /* bytes of all immediates together */
    uint8_t rex_offset;          /* 0 with .rex = 0: no REX prefix */
    uint8_t rex;                 /* the REX byte, 0 if none */
    uint8_t vex;                 /* 0 legacy, 2 VEX2, 3 VEX3, 4 EVEX, 5 XOP */
    uint8_t segment;             /* 0 none/default, or the prefix byte 0x26 0x2e 0x36 0x3e 0x64 0x65 in effect (64-bit
                                    mode: only 0x64 fs and 0x65 gs) */
    bool lock;                   /* has a lock prefix, or is an xchg, with memory */
    bool repeat;                 /* rep/repe/repne on a string instruction */
    bool address_size_override;  /* 0x67 present */
    uint8_t flow;                /* enum flow */
    uint8_t stack;               /* enum stack_effect */
    uint16_t stack_bytes;        /* for STACK_PUSH / STACK_POP / STACK_LEAVE (ret imm16: 8 + imm) */
    uint8_t memory;              /* enum memory_kind */
    uint8_t access;              /* enum access to the ModRM/moffs/masked/vector operand; ACCESS_NONE for lea, nop,
                                    prefetch; for strings: of the rdi operand (rsi operands are only read) */
    uint8_t base, index;         /* of the ModRM operand, REG_NONE if absent; for strings/masked REG_NONE; for
                                    MEMORY_VECTOR index is a vector register, 0..31 */
    uint8_t scale;               /* 1, 2, 4, 8; 1 without index */
    bool rip_relative;           /* displacement counts from the end of the instruction */
    bool bit_offset;             /* bt/bts/btr/btc m, reg: the address is displaced by the bit offset in reg */
    uint16_t operand_bytes;      /* size of the memory operand (one element for strings, gather and scatter; full
                                    register width for masked vector operands); xsave family: 0xffff (ask CPUID) */
    int32_t displacement;        /* sign extended, EVEX disp8*N applied; 16-bit addressing: modulo 2^16; moffs 64: the
                                    low half, see displacement_offset */
    int64_t immediate;           /* first immediate: sign extended, but for those of one byte that the instruction does
                                    not extend itself (counts, selectors, in/out ports, int) and of ret and enter */
    uint64_t target;             /* for direct flow: the target address */
    uint16_t reads;              /* general registers read, bit per register; address registers included */
    uint16_t writes;             /* general registers written, wholly or partly, or maybe (cmov, cmpxchg): never "the
                                    old value is dead" */
    uint8_t flags_read;          /* enum flag_bits, maybe read counts */
    uint8_t flags_written;       /* written or left undefined for certain (conditionally written flags do not count) */
    bool bnd_or_other;           /* an instruction class the translator passes on to native: MPX, fs/gs base, segment
                                    registers, system tables, ports, shadow-stack switches, wrpkru, VMX … */
};

/* Decode the instruction at `code`, of which `available` bytes may be read, as found at `address` (for targets).
 * `bits` is 64 or 32.  Returns true and fills *out, or false (and *out is undefined): invalid, or longer than available
 * or than 15 bytes, or not decoded on purpose: 3DNow!, APX, and near branches with 16-bit operand size (66 without
 * REX.W), which AMD and Intel execute differently. */
bool decode(const uint8_t *code, unsigned available, uint64_t address, unsigned bits, struct instruction *out);

#endif
