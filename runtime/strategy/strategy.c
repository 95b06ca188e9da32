#include "strategy/strategy.h"

#include "arch/x86_64/emit.h"
#include "events/events.h"
#include "region/rules.h"
#include "region/runtime.h"
#include "strategy/snapshot.h"

static const struct rule *rule_in_force(const struct context *context) {
    return in_checkpoint(context) ? rule_of(innermost(context)->patch, RULE_STRATEGY) : NULL;
}

static enum strategy strategy_in_force(const struct context *context) {
    if (in_checkpoint(context) && is_slice(innermost(context)))
        return STRATEGY_SLICE;
    const struct rule *rule = rule_in_force(context);
    return rule ? (enum strategy)rule->value[0] : STRATEGY_RETURN;
}

bool strategy_wanted(const struct context *context) {
    return strategy_in_force(context) != STRATEGY_RETURN;
}

bool strategy_lets_die(const struct context *context) {
    return strategy_in_force(context) == STRATEGY_DIE;
}

enum outcome strategy_follow(struct context *context) {
    const struct rule *rule = rule_in_force(context);
    switch (strategy_in_force(context)) {
    case STRATEGY_OBLIVIOUS:
        return strategy_oblivious(context, rule);
    case STRATEGY_RETRY:
        return strategy_retry(context);
    case STRATEGY_END_THREAD:
        return strategy_end_thread(context, rule);
    case STRATEGY_END_CHILD:
        return strategy_end_child(context, rule);
    case STRATEGY_SLICE:
        return strategy_slice(context);
    default:
        return OUTCOME_RETURN;
    }
}

bool strategy_wants_entry(const struct patch *patch) {
    const struct rule *rule = rule_of(patch, RULE_STRATEGY);
    return rule && (rule->value[0] == STRATEGY_OBLIVIOUS || rule->value[0] == STRATEGY_RETRY);
}

/* A function may come back to its entry by a jump: the checkpoint stays then, and the registers are not its own. */
static bool is_fresh(const struct context *context, const struct mark *mark) {
    const uint64_t *general = context->registers.general;
    bool same = mark->rsp == general[RSP];
    for (unsigned i = 0; i < MARK_REGISTERS; i++)
        same &= (&mark->rbx)[i] == general[mark_register(i)];
    return same;
}

void strategy_entered(struct context *context) {
    const struct rule *rule = rule_in_force(context);
    struct mark *mark = innermost(context);
    if (!rule || !is_fresh(context, mark))
        return;
    mark->tries = 0;
    if (rule->value[0] == STRATEGY_RETRY)
        snapshot_take(context, mark);
}

void strategy_record(struct context *context, const struct mark *mark, enum strategy strategy, uint64_t log_bytes) {
    context->strategy = strategy;
    record_recovery(context, mark, log_bytes);
    context->strategy = STRATEGY_RETURN;
}
