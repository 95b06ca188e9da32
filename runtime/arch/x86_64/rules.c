/* Blocks: which rules each instruction meets, and what stands at a block's beginning. */
#include "arch/x86_64/rules.h"

#include "arch/x86_64/shadow.h"
#include "arch/x86_64/ticks.h"
#include "fault/budget.h"
#include "fault/checks.h"
#include "guard/calls.h"
#include "region/rules.h"
#include "region/runtime.h"
#include "strategy/strategy.h"

static void emit_instruction(struct builder *builder, const struct block *block, uint32_t index) {
    const struct source_instruction *at = &builder->instructions[index];
    map_source(builder, at->address);
    if (at->checks)
        emit_check(builder, index, at);
    if (may_be_guarded(&at->decoded) && is_guarded_access(at->address))
        emit_guard(builder, at);
    switch (at->decoded.flow) {
    case FLOW_NEXT:
        if (reads_base(at))
            rule_read_base(builder, at);
        else
            rule_ordinary(builder, index, at);
        break;
    case FLOW_TRAP: /* raises its signal where it stands; the handler knows the original address */
        emit_copy(builder, at);
        break;
    case FLOW_JUMP:
        if (closes_loop(at) && builder_block_at(builder, at->decoded.target) < 0)
            emit_tick(builder, at->flags_live & FLAGS_ARITHMETIC);
        emit_jump(builder, at->decoded.target);
        break;
    case FLOW_BRANCH:
        rule_branch(builder, at);
        break;
    case FLOW_LOOP:
        rule_loop(builder, at);
        break;
    case FLOW_CALL:
        if (budgets_count())
            emit_tick(builder, at->flags_live & FLAGS_ARITHMETIC);
        if (builder->shadowed)
            emit_shadow_call(builder, at);
        emit_push_return(builder, at->address + at->decoded.length);
        map_source_as(builder, SOURCE_ARRIVING, at->decoded.target);
        emit_jump(builder, at->decoded.target);
        break;
    case FLOW_CALL_INDIRECT:
        emit_indirect_tick(builder, index);
        rule_call_indirect(builder, at);
        break;
    case FLOW_JUMP_INDIRECT:
        emit_indirect_tick(builder, index);
        rule_jump_indirect(builder, at);
        break;
    case FLOW_RETURN:
        rule_return(builder, block, at);
        break;
    case FLOW_SYSCALL:
        rule_syscall(builder, at);
        break;
    case FLOW_TRANSACTION:
        rule_transaction(builder, at);
        break;
    default:
        emit_native(builder, at->address, REASON_UNSUPPORTED);
        break;
    }
}

/* a region's entry → checkpoint (arch/x86_64/entry.S: mark_region); the gate from native code comes in behind it */
static void emit_mark(struct builder *builder, const struct block *block) {
    STORE_CONTEXT(OUT, RCX, spill);
    emit_literal(builder, 0x8b, RCX, (uintptr_t)patch_state_of(block->mark));
    STORE_CONTEXT(OUT, RCX, argument[0]);
    emit_literal(builder, 0x8b, RCX, (uintptr_t)block->mark);
    STORE_CONTEXT(OUT, RCX, argument[1]);
    uint32_t at = emit_resume(builder);
    LOAD_CONTEXT(OUT, RCX, spill);
    emit_context_jump(OUT, offsetof(struct context, mark_region));
    resume_here(builder, at);
    builder->gate[block - builder->blocks] = emitted(OUT);
}

/* Ask C about `source` if a 32-bit field of the context is not 0.  Flags are left alone. */
static void emit_request(struct builder *builder, uintptr_t source, size_t field, enum service service) {
    STORE_CONTEXT(OUT, RCX, spill);
    emit_context(OUT, 0x8b, RCX, field);
    EMIT(OUT, 0x67, 0xe3, 0); /* jecxz over the request */
    const uint32_t from = emitted(OUT);
    LOAD_CONTEXT(OUT, RCX, spill);
    emit_service_at(builder, service, source);
    if (OUT->at <= OUT->end)
        OUT->start[from - 1] = (uint8_t)(emitted(OUT) - from);
    LOAD_CONTEXT(OUT, RCX, spill);
}

/* the entry of a function that is undone as an operation while other threads are alive → C, if there are any; it does
 * what the function does, or goes on here.  Of one that guards blocks → C, always. */
static void emit_hook(struct builder *builder, uintptr_t source) {
    if (is_guard_entry(source))
        emit_service_at(builder, SERVICE_HOOK, source);
    else
        emit_request(builder, source, offsetof(struct context, exact), SERVICE_HOOK);
}

/* a slice begins → C makes the checkpoint; it ends → C removes it, if there may be one */
static void emit_slice(struct builder *builder, uintptr_t source) {
    if (rule_at(RULE_SLICE, source))
        emit_service_at(builder, SERVICE_SLICE, source);
    else
        emit_request(builder, source, offsetof(struct context, slices), SERVICE_SLICE);
}

void emit_block(struct builder *builder, struct block *block, uintptr_t falls_to) {
    builder->here = block->start;
    if (block->wants_entry) {
        block->entry = emitted(OUT) + 1;
        emit_entry(builder, block->start, block->flags_live);
    }
    map_source(builder, block->start);
    block->body = emitted(OUT);
    if (block->mark)
        emit_mark(builder, block);
    if (block->mark && builder->shadowed)
        emit_shadow_entry(builder);
    if (block->mark && strategy_wants_entry(block->mark))
        emit_service(builder, SERVICE_ENTERED);
    if (block->slice)
        emit_slice(builder, block->start);
    if (block->counts)
        emit_tick(builder, block->flags_live);
    if (block->hook)
        emit_hook(builder, block->start);
    for (uint32_t i = 0; i < block->count; i++)
        emit_instruction(builder, block, block->first + i);
    if (block->stop) {
        map_source(builder, block->next);
        emit_native(builder, block->next, block->stop);
        return;
    }
    bool is_call = false;
    if (block->count) {
        uint8_t flow = builder->instructions[block->first + block->count - 1].decoded.flow;
        is_call = flow == FLOW_CALL || flow == FLOW_CALL_INDIRECT;
    }
    int next = block->next ? builder_block_at(builder, block->next) : -1;
    bool adjacent = next >= 0 && block->next == falls_to && !builder->blocks[next].wants_entry;
    if (block->next && !is_call && !adjacent) {
        map_source_as(builder, SOURCE_ARRIVING, block->next);
        emit_jump(builder, block->next);
    }
}

/* ---- cold parts ---- */

void emit_cold(struct builder *builder, struct cold *cold) {
    cold->at = emitted(OUT);
    builder->here = cold->source;
    if (cold->kind == COLD_LOG || cold->kind == COLD_CHECK)
        map_source_as(builder, SOURCE_LOGGING, cold->source);
    else if (cold->kind == COLD_TICK)
        map_source(builder, cold->source);
    else
        map_source_as(builder, SOURCE_ARRIVING, slot_target(builder, cold->slot));
    switch (cold->kind) {
    case COLD_LOG:
        emit_cold_log(builder, cold);
        break;
    case COLD_CHECK:
        emit_cold_check(builder, cold);
        break;
    case COLD_LINK: /* first time through a link → C finds the code and sets the slot */
        emit_context_immediate(OUT, offsetof(struct context, argument), cold->slot);
        emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_LINK);
        emit_context_jump(OUT, offsetof(struct context, run_service));
        break;
    case COLD_TICK:
        emit_cold_tick(builder, cold);
        break;
    case COLD_LOOP:
        builder->here = slot_target(builder, cold->slot);
        emit_tick(builder, true);
        emit_jump_slot(builder, cold->slot);
        break;
    case COLD_JUMP:
        emit_jump_slot(builder, cold->slot);
        break;
    }
}
