/* Slices: a piece of a function with one way in, which is skipped when it faults.
 *
 * A checkpoint is made where it begins, and is gone where control gets to one of its exits, or comes above its stack
 * pointer.  A fault in between, in whatever it calls too, undoes what it has done; the function goes on at the slice's
 * .resume with the registers that it had at the beginning, but for those that the plan sets.
 */
#include "arch/x86_64/emit.h"
#include "effects/words.h"
#include "region/escalate.h"
#include "region/log.h"
#include "region/rescue.h"
#include "region/rules.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "strategy/snapshot.h"
#include "strategy/strategy.h"

bool slice_place(uintptr_t address) {
    return rule_at(RULE_SLICE, address) || rule_at(RULE_SLICE_EXIT, address);
}

/* The checkpoint of the slice that runs in the very frame that is at `rsp`. */
static bool is_running(const struct context *context, uint64_t rsp) {
    return context->depth && is_slice(innermost(context)) && innermost(context)->rsp == rsp;
}

static void begin(struct context *context, const struct rule *rule) {
    const uint64_t *general = context->registers.general;
    struct mark *mark = (struct mark *)(context->mark + MARK_BYTES);
    const struct patch *patch = &patch_table()[rule->patch];
    if (context->mark >= context->mark_last)
        return;
    *mark = (struct mark){
        .rsp = general[RSP],
        .return_address = SLICE_MARK,
        .log = context->log,
        .patch = patch,
        .patch_state = patch_state_of(patch),
        .slice = rule,
    };
    context->mark = (uint64_t)mark;
    context->depth++;
    context->mark_rsp = mark->rsp;
    log_new_epoch(context);
    context->slices = 1;
    snapshot_take(context, mark);
}

/* A function may be one long loop: what its slices have done before cannot all be kept for its own rescue. */
static void keep_short(struct context *context) {
    const uint64_t irreversible = context->irreversible;
    if (context->log - context->log_start > LOG_KEEP_BYTES && words_settle(context))
        context->irreversible = irreversible + 1;
}

void slice_arrive(struct context *context, uintptr_t address) {
    const struct rule *rule = rule_at(RULE_SLICE, address);
    if (context->quiet || !context->depth)
        return;
    if (is_running(context, context->registers.general[RSP]))
        pop_mark(context);
    context->slices = context->depth > 1; /* maybe */
    if (!rule)
        return;
    keep_short(context);
    begin(context, rule);
}

static void set_registers(struct context *context, const struct rule *slice) {
    const struct rule *rule = rule_of(&patch_table()[slice->patch], RULE_SLICE_SET);
    for (; rule; rule = rule_next(rule))
        if (rule->address == slice->address)
            context->registers.general[rule->value[0] & 15] = rule->value[1];
}

/* Control has left it by a way that is no stated exit: then the fault is the function's. */
static bool was_left(const struct context *context, const struct mark *mark) {
    const uintptr_t function = mark->patch->function + load_bias(), in_function = context->fault_pc - function;
    const uintptr_t in_slice = context->fault_pc - rule_address(mark->slice);
    return in_function < mark->patch->function_size && in_slice >= mark->slice->end - mark->slice->address;
}

/* A recursion goes through it: each level that is left would only run into the end of the stack again. */
static bool recurs(const struct context *context, const struct mark *mark) {
    for (const struct mark *outer = (const struct mark *)context->marks_start + 1; outer < mark; outer++)
        if (is_slice(outer) && outer->slice == mark->slice)
            return true;
    return false;
}

enum outcome strategy_slice(struct context *context) {
    const struct mark *mark = innermost(context);
    const uint64_t log_bytes = context->log - mark->log;
    const bool recurred = context->fault_class == FAULT_STACK_EXHAUSTION && recurs(context, mark);
    if (was_left(context, mark) || recurred || slice_repeats(context, mark) || !snapshot_restore(context, mark)) {
        while (in_checkpoint(context) && is_slice(innermost(context)))
            pop_mark(context);
        return OUTCOME_RETURN;
    }
    set_registers(context, mark->slice);
    roll_back(context, mark);
    strategy_record(context, mark, STRATEGY_SLICE, log_bytes);
    go_to(context, mark->slice->value[0] + load_bias());
    return OUTCOME_RESUME;
}
