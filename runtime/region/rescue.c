#include "region/rescue.h"

#include "events/events.h"
#include "fault/budget.h"
#include "fault/stack.h"
#include "region/escalate.h"
#include "region/log.h"
#include "region/outputs.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "strategy/strategy.h"

/* The checkpoint to go back to: the innermost; for stack exhaustion the outermost of the same region, since each
 * level of the recursion that is left would only run into the end of the stack again. */
static struct mark *choose(struct context *context) {
    struct mark *innermost = (struct mark *)context->mark;
    if (context->fault_class != FAULT_STACK_EXHAUSTION)
        return escalated(context, innermost);
    struct mark *mark = (struct mark *)context->marks_start + 1;
    while (mark->patch != innermost->patch)
        mark++;
    return escalated(context, mark);
}

/* All registers as at entry, the result aside.  A register that the function does not write may be live in its caller
 * (gcc's -fipa-ra), whatever the convention says; for the same reason xmm0 changes for a double only, and rdx, which
 * may be the second half of a result, becomes 0 only where the function has written it. */
void restore_registers(struct context *context, const struct mark *mark) {
    uint64_t *general = context->registers.general;
    general[RAX] = mark->patch->return_kind == RETURN_VOID ? 0 : mark->patch->return_value;
    for (unsigned i = 0; i < MARK_REGISTERS; i++)
        general[mark_register(i)] = (&mark->rbx)[i];
    if (context->fault_rdx != mark->rdx)
        general[RDX] = 0;
    general[RSP] = mark->rsp + 8;
    context->registers.flags = 0x202;
    context->rescue_mxcsr = mark->mxcsr;
    context->rescue_x87 = mark->x87_control;
    context->rescue_is_double = mark->patch->return_kind == RETURN_DOUBLE;
    context->rescue_double = mark->patch->return_value;
}

void roll_back(struct context *context, const struct mark *mark) {
    budget_rescued(context, mark);
    context->keeps_files = !is_slice(mark) && mark->patch->flags & REGION_OF_MAIN;
    log_rollback(context, mark->log);
    context->keeps_files = 0;
    context->quiet = 0;
    shadow_forget(context, 0, mark->rsp + 8);
    context->mark = (uint64_t)(mark - 1);
    context->depth = (uint64_t)(mark - 1 - (struct mark *)context->marks_start);
    context->mark_rsp = context->depth ? (mark - 1)->rsp : 0;
}

bool rescue(struct context *context) {
    const enum outcome outcome = strategy_follow(context);
    if (outcome != OUTCOME_RETURN)
        return outcome == OUTCOME_RESCUED;
    const struct mark *mark = choose(context);
    while (is_slice(mark)) /* the error value is the function's */
        mark--;
    const uint64_t log_bytes = context->log - mark->log;
    const uintptr_t return_address = mark->return_address;
    restore_registers(context, mark);
    roll_back(context, mark);
    set_outputs(context, mark);
    record_recovery(context, mark, log_bytes);
    go_to(context, return_address);
    return true;
}

bool raise_fault(struct context *context, enum fault_class fault_class, uintptr_t pc, uintptr_t address) {
    context->fault_class = fault_class;
    context->fault_pc = pc;
    context->fault_address = address;
    context->fault_rdx = context->registers.general[RDX];
    if (strategy_lets_die(context)) {
        go_native(context, program_at(context), REASON_STRATEGY);
        return false;
    }
    return rescue(context);
}
