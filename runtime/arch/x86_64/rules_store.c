/* Before a store: are the bytes in the undo log already? */
#include "arch/x86_64/rules.h"

#include "arch/x86_64/shadow.h"
#include "region/masked.h"

static bool store_is_plain(const struct instruction *decoded) {
    return decoded->memory == MEMORY_OPERAND && decoded->operand_bytes <= OVERHANG_BYTES && !decoded->bit_offset &&
           decoded->stack == STACK_NONE && decoded->displacement_size != 8;
}

/* Frames younger than the checkpoint need no undo.  [rsp + d] is in the running function's frame; in a unit that holds
 * a region's entry it may be above the mark, and so may be what lies above the function's return address: arguments,
 * which a region that goes on in another function by a jump has from its caller. */
static bool store_is_young(const struct builder *builder, const struct source_instruction *at) {
    const struct instruction *decoded = &at->decoded;
    return decoded->memory == MEMORY_OPERAND && decoded->base == RSP && decoded->index == REG_NONE &&
           !decoded->segment && !builder->has_mark && !builder->marked_within && !decoded->bit_offset &&
           decoded->stack == STACK_NONE &&
           (at->depth == UNKNOWN_DEPTH || decoded->displacement + decoded->operand_bytes <= at->depth);
}

/* rdx := the address of the memory operand, from the program's registers, which are kept: rax in spill[1], rdx in
 * spill[2], flags that somebody reads in spill[3].  Result: whether there are such. */
bool emit_filter(struct builder *builder, const struct source_instruction *at) {
    const bool flags = (at->decoded.flags_read | at->flags_live) & FLAGS_ARITHMETIC;
    STORE_CONTEXT(OUT, RAX, spill[1]);
    STORE_CONTEXT(OUT, RDX, spill[2]);
    emit_operand(OUT, 0x8d, RDX, &at->decoded, at->address, false);
    if (flags) {
        EMIT(OUT, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
        STORE_CONTEXT(OUT, RAX, spill[3]);
    }
    if (at->decoded.segment == 0x64)
        emit_context(OUT, 0x03, RDX, offsetof(struct context, owner));
    return flags;
}

void emit_filter_restore(struct builder *builder, bool flags) {
    if (flags) {
        LOAD_CONTEXT(OUT, RAX, spill[3]);
        EMIT(OUT, 0x04, 0x7f, 0x9e); /* add al, 127; sahf */
    }
    LOAD_CONTEXT(OUT, RDX, spill[2]);
    LOAD_CONTEXT(OUT, RAX, spill[1]);
}

/* Not zero → cold; else on, with everything as before the filter.  Result: the cold part. */
uint32_t emit_filter_end(struct builder *builder, enum cold_kind kind, uint32_t index, bool flags) {
    EMIT(OUT, 0x0f, 0x85, 0, 0, 0, 0); /* jne cold */
    uint32_t cold = builder_cold(builder, (struct cold){.kind = kind, .instruction = index, .flags_saved = flags});
    builder_fixup(builder, FIXUP_COLD, cold);
    emit_filter_restore(builder, flags);
    builder->colds[cold].back = emitted(OUT);
    return cold;
}

/* store → rdx = tag of its granule in this epoch; known to the filter? else cold: log; then the store itself.
 * Result: the cold part. */
static uint32_t emit_store_check(struct builder *builder, uint32_t index, const struct source_instruction *at) {
    const bool flags = emit_filter(builder, at);
    const uint32_t hit = shadow_reaches(builder, &at->decoded) ? emit_shadow_store(builder, at) : 0;
    EMIT(OUT, 0x48, 0xc1, 0xea, GRANULE_SHIFT); /* shr rdx, 9 */
    emit_context(OUT, 0x0b, RDX, offsetof(struct context, epoch));
    EMIT(OUT, 0x89, 0xd0, 0x25); /* mov eax, edx; and eax, entries - 1 */
    emit32(OUT, FILTER_ENTRIES - 1);
    EMIT(OUT, 0x65, 0x48, 0x3b, 0x14, 0xc5); /* cmp rdx, gs:[rax*8 + filter] */
    emit32(OUT, FILTER_OFFSET);
    if (hit)
        emit_shadow_hit(builder, hit);
    return emit_filter_end(builder, COLD_LOG, index, flags);
}

void emit_address(struct builder *builder, uint32_t offset) { /* lea rdx, [the unit + offset] */
    EMIT(OUT, 0x48, 0x8d, 0x15);
    emit32(OUT, offset - (emitted(OUT) + 4));
}

/* … → everything as before the check; address and size to C; back to the store, or, where C has done in its place what
 * a locked instruction does, behind it */
void emit_cold_log(struct builder *builder, const struct cold *cold) {
    const struct source_instruction *at = &builder->instructions[cold->instruction];
    emit_filter_restore(builder, cold->flags_saved);
    emit_operand(OUT, 0x8d, RDX, &at->decoded, at->address, false);
    STORE_CONTEXT(OUT, RDX, argument[0]);
    emit_address(builder, cold->back);
    STORE_CONTEXT(OUT, RDX, resume);
    if (at->decoded.lock) {
        emit_literal(builder, 0x8b, RDX, at->address);
        STORE_CONTEXT(OUT, RDX, target);
        emit_address(builder, cold->behind);
        STORE_CONTEXT(OUT, RDX, behind);
    }
    LOAD_CONTEXT(OUT, RDX, spill[2]);
    const bool masked = store_is_masked(&at->decoded, at->bytes);
    if (masked)
        emit_context_immediate(OUT, offsetof(struct context, target), new_slot(builder, at->address));
    const bool reaches = !masked && shadow_reaches(builder, &at->decoded);
    emit_context_immediate(OUT, offsetof(struct context, argument) + 8,
                           at->decoded.operand_bytes | (at->decoded.segment == 0x64 ? LOG_SEGMENT : 0) |
                               (at->decoded.lock ? LOG_ATOMIC : 0) | (masked ? LOG_MASKED : 0) |
                               (reaches ? LOG_REACH : 0));
    emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_LOG);
    emit_context_jump(OUT, offsetof(struct context, run_service));
}

static bool may_store(const struct source_instruction *at) {
    if (at->decoded.memory == MEMORY_OTHER)
        return is_other(at, OTHER_MOVDIR64B);
    return at->decoded.access & ACCESS_WRITE && at->decoded.memory != MEMORY_NONE;
}

/* Result: the cold part of the check, if there is one. */
uint32_t emit_undo(struct builder *builder, uint32_t index, const struct source_instruction *at) {
    if (!may_store(at))
        return NO_COLD;
    if (store_is_young(builder, at))
        return NO_COLD;
    if (store_is_plain(&at->decoded))
        return emit_store_check(builder, index, at);
    emit_service_at(builder, SERVICE_LOG_OTHER, at->address);
    return NO_COLD;
}
