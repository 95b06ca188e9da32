/* Pieces of which translation rules are made. */
#include "arch/x86_64/rules.h"

#include "arch/x86_64/ticks.h"
#include "region/runtime.h"

/* op r64, [rip + literal]: 8b loads, 3b compares, 03 adds */
void emit_literal(struct builder *builder, uint8_t opcode, unsigned reg, uint64_t value) {
    emit8(OUT, 0x48 | (reg >> 3 & 1) << 2);
    emit8(OUT, opcode);
    emit8(OUT, 0x05 | (reg & 7) << 3);
    emit32(OUT, 0);
    builder_fixup(builder, FIXUP_LITERAL, builder_literal(builder, value));
}

static uintptr_t slot_address(const struct builder *builder, uint32_t slot) {
    return (uintptr_t)&builder->arena->slots[slot & ((1u << SLOT_BITS) - 1)];
}

void map_source_as(struct builder *builder, enum source_kind kind, uintptr_t address) {
    if (builder->map_count == MAX_MAPPED) {
        builder->full = true;
        return;
    }
    const uint32_t code = emitted(OUT) | (uint32_t)kind << SOURCE_KIND_SHIFT;
    builder->map[builder->map_count++] = (struct source_map){code, (int32_t)(address - builder->root)};
}

void map_source(struct builder *builder, uintptr_t address) {
    builder->here = address;
    map_source_as(builder, SOURCE_INSTRUCTION, address);
}

uintptr_t slot_target(const struct builder *builder, uint32_t slot) {
    return builder->arena->slot_targets[slot & ((1u << SLOT_BITS) - 1)];
}

uint32_t new_slot(struct builder *builder, uintptr_t target) {
    uint32_t slot = 0;
    if (!arena_slot(builder->arena, target, &slot))
        builder->full = true;
    return slot;
}

void emit_jump_slot(struct builder *builder, uint32_t slot) { /* jmp [rip + slot] */
    EMIT(OUT, 0xff, 0x25);
    emit32(OUT, (uint32_t)(slot_address(builder, slot) - ((uintptr_t)OUT->at + 4)));
}

/* Code elsewhere in the same arena never moves or goes: reach it directly. */
static bool in_arena(const struct builder *builder, const struct translation *known) {
    return known && known->body >= builder->arena->code && known->body < builder->arena->end;
}

/* Where code for `target` is already: a block of this unit (-1: none), or a translation.  Neither while a breakpoint
 * stands there: C decides then, each time. */
static const struct translation *known_target(const struct builder *builder, uintptr_t target, int *block) {
    const bool stop = breakpoint_at_entry(target);
    *block = stop ? -1 : builder_block_at(builder, target);
    return stop || *block >= 0 ? NULL : cache_find(target);
}

/* jmp → block of this unit, known code, or a link */
void emit_jump(struct builder *builder, uintptr_t target) {
    int block;
    const struct translation *known = known_target(builder, target, &block);
    if (block >= 0) {
        EMIT(OUT, 0xe9, 0, 0, 0, 0);
        builder_fixup(builder, FIXUP_BLOCK, (uint32_t)block);
    } else if (in_arena(builder, known)) {
        EMIT(OUT, 0xe9);
        emit32(OUT, (uint32_t)(known->body - ((uintptr_t)OUT->at + 4)));
    } else {
        uint32_t slot = new_slot(builder, target);
        builder_cold(builder, (struct cold){.kind = COLD_LINK, .slot = slot});
        emit_jump_slot(builder, slot);
    }
}

/* The last 4 bytes emitted are the displacement of a conditional jump to where `at` leads. */
void aim_branch(struct builder *builder, const struct source_instruction *at) {
    const uintptr_t target = at->decoded.target;
    int block;
    const struct translation *known = known_target(builder, target, &block);
    if (block >= 0) {
        builder_fixup(builder, FIXUP_BLOCK, (uint32_t)block);
    } else if (in_arena(builder, known) && !closes_loop(at)) {
        OUT->at -= 4;
        emit32(OUT, (uint32_t)(known->body - ((uintptr_t)OUT->at + 4)));
    } else {
        uint32_t slot = new_slot(builder, target);
        builder_cold(builder, (struct cold){.kind = COLD_LINK, .slot = slot});
        const enum cold_kind kind = closes_loop(at) ? COLD_LOOP : COLD_JUMP;
        builder_fixup(builder, FIXUP_COLD, builder_cold(builder, (struct cold){.kind = kind, .slot = slot}));
    }
}

/* [rip + here] := the address of the code that follows `emit_resume … resume_here`, as context.resume.  Uses rcx. */
uint32_t emit_resume(struct builder *builder) {
    EMIT(OUT, 0x48, 0x8d, 0x0d, 0, 0, 0, 0); /* lea rcx, [rip + …] */
    uint32_t at = emitted(OUT) - 4;
    STORE_CONTEXT(OUT, RCX, resume);
    return at;
}

void resume_here(struct builder *builder, uint32_t at) {
    if (OUT->at > OUT->end)
        return;
    uint32_t distance = emitted(OUT) - (at + 4);
    for (int b = 0; b < 4; b++)
        OUT->start[at + b] = (uint8_t)(distance >> 8 * b);
}

void emit_service(struct builder *builder, enum service service) {
    STORE_CONTEXT(OUT, RCX, spill);
    uint32_t at = emit_resume(builder);
    LOAD_CONTEXT(OUT, RCX, spill);
    emit_context_immediate(OUT, offsetof(struct context, service), service);
    emit_context_jump(OUT, offsetof(struct context, run_service));
    resume_here(builder, at);
}

/* … about the code at `address`. */
void emit_service_at(struct builder *builder, enum service service, uintptr_t address) {
    emit_context_immediate(OUT, offsetof(struct context, argument), new_slot(builder, address));
    emit_service(builder, service);
}

void emit_native(struct builder *builder, uintptr_t address, enum reason reason) {
    uint32_t slot = new_slot(builder, address);
    emit_context_immediate(OUT, offsetof(struct context, argument), slot);
    emit_context_immediate(OUT, offsetof(struct context, argument) + 8, reason);
    emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_NATIVE);
    emit_context_jump(OUT, offsetof(struct context, run_service));
}
