/* Before an instruction where a fault was reported, or of which the user has said what must hold. */
#include "arch/x86_64/rules.h"

#include "fault/alignment.h"
#include "fault/checks.h"

/* … → everything as before the filter; C looks at the instruction, and goes on at it or raises its fault */
void emit_cold_check(struct builder *builder, const struct cold *cold) {
    emit_filter_restore(builder, cold->flags_saved);
    emit_address(builder, cold->back);
    STORE_CONTEXT(OUT, RDX, resume);
    LOAD_CONTEXT(OUT, RDX, spill[2]);
    emit_context_immediate(OUT, offsetof(struct context, argument),
                           new_slot(builder, builder->instructions[cold->instruction].address));
    emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_CHECK);
    emit_context_jump(OUT, offsetof(struct context, run_service));
}

/* Whether C need only be asked about addresses that are in the first 64 KiB, or beyond what user code can have. */
static bool filter_decides(const struct source_instruction *at) {
    const struct instruction *decoded = &at->decoded;
    return at->checks == CHECK_FAULT && decoded->memory == MEMORY_OPERAND && decoded->stack == STACK_NONE &&
           !decoded->bit_offset && decoded->displacement_size != 8 && !is_division(decoded, at->bytes) &&
           alignment_wanted(decoded, at->bytes) == 1;
}

static unsigned divisor_register(const struct source_instruction *at) {
    return (at->bytes[at->decoded.modrm_offset] & 7) | (at->decoded.rex & 1) << 3;
}

/* div, idiv of 32 or 64 bits by a register that no dividend is in, and that can be a base without more bytes. */
static bool division_is_plain(const struct source_instruction *at) {
    const unsigned divisor = divisor_register(at);
    return at->checks == CHECK_FAULT && is_division(&at->decoded, at->bytes) && at->decoded.memory == MEMORY_NONE &&
           at->bytes[at->decoded.opcode_offset] == 0xf7 && at->bytes[0] != 0x66 && divisor != RAX && divisor != RDX &&
           (divisor & 7) != RSP;
}

static void emit_cold_branch(struct builder *builder, uint8_t condition, uint32_t cold) {
    EMIT(OUT, 0x0f);
    emit8(OUT, 0x80 | condition);
    emit32(OUT, 0);
    builder_fixup(builder, FIXUP_COLD, cold);
}

/* division → surely without fault? else C
 *     without sign  the upper half of the dividend is below the divisor, for else the quotient does not fit
 *     with sign     the upper half is but the sign of the lower one, and the divisor is neither 0 nor -1 */
static void emit_division_check(struct builder *builder, uint32_t index, const struct source_instruction *at) {
    enum { BELOW_EQUAL = 6, NOT_BELOW = 3, NOT_EQUAL = 5 };
    const bool flags = at->flags_live & FLAGS_ARITHMETIC, is_signed = at->bytes[at->decoded.modrm_offset] & 8;
    const unsigned divisor = divisor_register(at);
    const uint8_t wide = 0x40 | (at->decoded.rex & 8), by_divisor = wide | (uint8_t)(divisor >> 3);
    const uint32_t cold =
        builder_cold(builder, (struct cold){.kind = COLD_CHECK, .instruction = index, .flags_saved = flags});
    STORE_CONTEXT(OUT, RAX, spill[1]);
    STORE_CONTEXT(OUT, RDX, spill[2]);
    if (flags) {
        EMIT(OUT, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
        STORE_CONTEXT(OUT, RAX, spill[3]);
        LOAD_CONTEXT(OUT, RAX, spill[1]);
    }
    if (is_signed) {
        emit8(OUT, wide); /* sar rax, all bits */
        EMIT(OUT, 0xc1, 0xf8, 63);
        emit8(OUT, wide); /* xor rax, rdx */
        EMIT(OUT, 0x31, 0xd0);
        emit_cold_branch(builder, NOT_EQUAL, cold);
        emit8(OUT, by_divisor); /* lea rax, [divisor + 1] */
        EMIT(OUT, 0x8d);
        emit8(OUT, 0x40 | (divisor & 7));
        EMIT(OUT, 1);
        emit8(OUT, wide); /* cmp rax, 1 */
        EMIT(OUT, 0x83, 0xf8, 1);
        emit_cold_branch(builder, BELOW_EQUAL, cold);
    } else {
        emit8(OUT, by_divisor); /* cmp rdx, divisor */
        EMIT(OUT, 0x3b);
        emit8(OUT, 0xc0 | RDX << 3 | (divisor & 7));
        emit_cold_branch(builder, NOT_BELOW, cold);
    }
    emit_filter_restore(builder, flags);
    builder->colds[cold].back = emitted(OUT);
}

/* an instruction where a fault was reported, or of which the user has said what must hold → C first.
 *     (address - 64K) >> 47 is 0 for ordinary addresses, and for the 64 KiB behind them, which the trap tells */
void emit_check(struct builder *builder, uint32_t index, const struct source_instruction *at) {
    if (division_is_plain(at)) {
        emit_division_check(builder, index, at);
        return;
    }
    if (!filter_decides(at)) {
        emit_service_at(builder, SERVICE_CHECK, at->address);
        return;
    }
    const bool flags = emit_filter(builder, at);
    EMIT(OUT, 0x48, 0x81, 0xea, 0, 0, 1, 0, 0x48, 0xc1, 0xea, 47); /* sub rdx, 0x10000; shr rdx, 47 */
    emit_filter_end(builder, COLD_CHECK, index, flags);
}
