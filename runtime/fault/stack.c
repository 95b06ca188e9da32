#include "fault/stack.h"

#include "arch/x86_64/emit.h"
#include "decode/decode.h"
#include "include/rules.h"
#include "region/log.h"
#include "region/rescue.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "strategy/strategy.h"
#include "translate/cache.h"

enum { WORD = 8 };

bool stack_guarded(void) {
    return module_runtime()->stack_rule;
}

static void forget(struct shadow_call *call, uint64_t rsp, uint64_t low, uint64_t high) {
    if (call->rsp > low && call->rsp <= high && !((call->rsp ^ rsp) & (SHADOW_SPAN - 1)))
        call->rsp = 0;
}

void shadow_forget(struct context *context, uint64_t low, uint64_t high) {
    if (!stack_guarded())
        return;
    const uint64_t last = high - low > SHADOW_SPAN ? high - SHADOW_SPAN : low; /* then all of the table has been seen */
    for (uint64_t rsp = high & -(uint64_t)WORD; rsp > last; rsp -= WORD)
        forget(shadow_of(context, rsp), rsp, low, high);
}

/* What the ret should find; false: nobody knows. */
static bool expected(const struct context *context, uint64_t slot, struct shadow_call *call) {
    const struct mark *mark = (const struct mark *)context->mark;
    while (is_slice(mark)) /* no call has made it */
        mark--;
    *call = *shadow_of(context, slot + WORD);
    if (slot != mark->rsp) /* an address of no code: another's entry lies across this one */
        return call->rsp == slot + WORD && range_known(call->return_address);
    call->return_address = mark->return_address; /* it may have been called natively, long after the entry was made */
    call->rbp = mark->rbp;
    return true;
}

bool return_check(struct context *context) {
    const uint64_t slot = context->registers.general[RSP], rbp = context->registers.general[RBP];
    const uintptr_t pc = cache_source_of(context->resume);
    struct shadow_call call;
    uint64_t target;
    if (!in_checkpoint(context) || !expected(context, slot, &call) ||
        safe_copy(&target, (const void *)slot, sizeof target) < sizeof target)
        return false;
    if (target != call.return_address)
        return raise_fault(context, FAULT_RETURN_ADDRESS, pc, slot);
    if (context->argument[0] & RETURN_POPS_RBP && rbp != call.rbp)
        return raise_fault(context, FAULT_STACK_SMASH, pc, slot - WORD);
    return false;
}

/* ---- indirect branches ---- */

/* A function that is called by name only begins there: `offset` from the beginning of this file's code. */
static bool is_unreachable(uint64_t offset) {
    const struct rule *rule = module_runtime()->stack_rule;
    const uint32_t *table = (const uint32_t *)((const char *)&payload_header + rule->value[0]);
    uint64_t low = 0, high = rule->value[1];
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (table[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rule->value[1] && table[low] == offset;
}

bool dispatch_check(struct context *context, uintptr_t target) {
    const uint64_t offset = target - load_bias() - payload_header.text_start;
    uintptr_t caller = 0;
    if (!stack_guarded() || !in_checkpoint(context) || !is_unreachable(offset))
        return false;
    safe_copy(&caller, (const void *)context->registers.general[RSP], sizeof caller);
    return raise_fault(context, FAULT_CONTROL_FLOW, range_known(caller) ? caller - 1 : target, target);
}

static bool is_memory(uint64_t rsp) {
    uint8_t byte;
    for (unsigned below = 0; below <= WORD; below += WORD) /* an empty stack ends where rsp is */
        if (safe_copy(&byte, (const void *)(rsp - below), sizeof byte) == sizeof byte)
            return true;
    return false;
}

/* As longjmp does it: rsp first, then the other registers, then a jump. */
static bool jumps_next(const struct context *context, uintptr_t at, uintptr_t *target) {
    enum { STEPS = 16, LONGEST = 15 };
    struct instruction decoded;
    uint8_t bytes[LONGEST];
    uint32_t written = 0;
    for (unsigned i = 0; i < STEPS; i++, at += decoded.length) {
        if (!decode(bytes, source_bytes(at, bytes), at, 64, &decoded))
            return false;
        if (decoded.flow != FLOW_NEXT)
            break;
        written |= decoded.writes;
    }
    const unsigned reg = (bytes[decoded.modrm_offset] & 7) | (decoded.rex & 1) << 3;
    *target = context->registers.general[reg];
    return decoded.flow == FLOW_JUMP_INDIRECT && decoded.memory == MEMORY_NONE && !(written >> reg & 1);
}

bool switch_check(struct context *context, uintptr_t next) {
    const uint64_t rsp = context->registers.general[RSP];
    uintptr_t target;
    if (!in_checkpoint(context) || !jumps_next(context, next, &target))
        return false;
    if (!is_memory(rsp))
        return raise_fault(context, FAULT_STACK_SMASH, cache_source_of(context->resume), rsp);
    return stack_guarded() && dispatch_check(context, target);
}
