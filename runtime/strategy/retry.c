/* Once more in an altered environment, after F. Qin, J. Tucek, J. Sundaresan and Y. Zhou, "Rx: Treating Bugs as
 * Allergies" (SOSP 2005): the region is rolled back and runs again, while blocks that it allocates are zero and have
 * room behind them, and what it frees stays as it was until the end.
 *
 * For that the allocator is asked natively, as with other threads alive, and so exactly the bytes written are logged:
 * granules would hold the allocator's own words.  A checkpoint further out may have some, so that there must be none.
 */
#include "effects/hooks.h"
#include "fault/budget.h"
#include "region/log.h"
#include "strategy/snapshot.h"
#include "strategy/strategy.h"

enum outcome strategy_retry(struct context *context) {
    struct mark *mark = innermost(context);
    const uint64_t log_bytes = context->log - mark->log;
    if (mark->tries || context->altered || !allocator_known() || (context->depth > 1 && !context->exact) ||
        context->fault_class == FAULT_STACK_EXHAUSTION)
        return OUTCOME_RETURN;
    budget_rescued(context, mark);
    log_rollback(context, mark->log);
    if (context->log > mark->log || !snapshot_restore(context, mark) ||
        !log_operation(context, LOG_ALTERED, 0, NULL, 0))
        return OUTCOME_RETURN;
    context->quiet = 0;
    context->mark_rsp = mark->rsp;
    context->altered = (uint64_t)mark;
    context->altered_exact = context->exact;
    context->exact = true;
    mark->tries = 1;
    mark->seen = 0; /* with its whole budget again */
    log_new_epoch(context);
    strategy_record(context, mark, STRATEGY_RETRY, log_bytes);
    return OUTCOME_RESUME;
}

void strategy_retry_ends(struct context *context) {
    context->exact = context->altered_exact;
    context->altered = 0;
}

uint64_t altered_size(uint64_t size) {
    enum { ROOM = 64 };
    const uint64_t roomy = (size + 2 * ROOM - 1) & -(uint64_t)ROOM;
    return roomy > size ? roomy : size;
}
