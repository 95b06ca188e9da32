#include "arch/x86_64/ticks.h"

#include "fault/budget.h"

#define OUT (&builder->out)

bool closes_loop(const struct source_instruction *at) {
    const uint8_t flow = at->decoded.flow;
    return budgets_count() && (flow == FLOW_JUMP || flow == FLOW_BRANCH || flow == FLOW_LOOP) &&
           at->decoded.target <= at->address;
}

void find_loops(struct builder *builder) {
    for (uint32_t i = 0; i < builder->instruction_count; i++) {
        const struct source_instruction *at = &builder->instructions[i];
        const int block = closes_loop(at) ? builder_block_at(builder, at->decoded.target) : -1;
        if (block >= 0)
            builder->blocks[block].counts = true;
    }
}

/*     dec left; jz cold
 * or  mov rcx → spill; rcx = left; lea rcx, [rcx - 1]; left = rcx; jrcxz 1f; mov rcx ← spill; jmp 2f;
 *     1: mov rcx ← spill; jmp cold; 2: */
void emit_tick(struct builder *builder, bool flags_live) {
    enum { MOVE = 9 }; /* bytes of a register's move to or from the context */
    const uint32_t cold = builder_cold(builder, (struct cold){.kind = COLD_TICK});
    if (flags_live) {
        STORE_CONTEXT(OUT, RCX, spill);
        LOAD_CONTEXT(OUT, RCX, left);
        EMIT(OUT, 0x48, 0x8d, 0x49, 0xff);
        STORE_CONTEXT(OUT, RCX, left);
        EMIT(OUT, 0xe3, MOVE + 2);
        LOAD_CONTEXT(OUT, RCX, spill);
        EMIT(OUT, 0xeb, MOVE + 5);
        LOAD_CONTEXT(OUT, RCX, spill);
        EMIT(OUT, 0xe9, 0, 0, 0, 0);
    } else {
        EMIT(OUT, 0x65, 0x48, 0xff, 0x0c, 0x25);
        emit32(OUT, (uint32_t)offsetof(struct context, left));
        EMIT(OUT, 0x0f, 0x84, 0, 0, 0, 0);
    }
    builder_fixup(builder, FIXUP_COLD, cold);
    builder->colds[cold].back = emitted(OUT);
}

/* endbr64, and a jump through the table of another file's functions. */
static bool is_stub(const struct builder *builder, uint32_t index) {
    static const uint8_t endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa};
    const struct source_instruction *at = &builder->instructions[index];
    if (at->decoded.flow != FLOW_JUMP_INDIRECT || !at->decoded.rip_relative)
        return false;
    if (builder_block_at(builder, at->address) >= 0)
        return true;
    const uintptr_t before = at->address - sizeof endbr64;
    bool marked = index && at[-1].address == before && builder_block_at(builder, before) >= 0;
    for (unsigned i = 0; marked && i < sizeof endbr64; i++)
        marked = at[-1].bytes[i] == endbr64[i];
    return marked;
}

void emit_indirect_tick(struct builder *builder, uint32_t index) {
    if (budgets_count() && !is_stub(builder, index))
        emit_tick(builder, builder->instructions[index].flags_live & FLAGS_ARITHMETIC);
}

void emit_cold_tick(struct builder *builder, const struct cold *cold) {
    STORE_CONTEXT(OUT, RCX, spill);
    EMIT(OUT, 0x48, 0x8d, 0x0d); /* lea rcx, [the unit + cold->back] */
    emit32(OUT, cold->back - (emitted(OUT) + 4));
    STORE_CONTEXT(OUT, RCX, resume);
    LOAD_CONTEXT(OUT, RCX, spill);
    emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_TICK);
    emit_context_jump(OUT, offsetof(struct context, run_service));
}
