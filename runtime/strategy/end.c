/* The thread, or the child process, ends in the place of the region, which is undone.  Only where others go on: the
 * first thread does not end, nor a process that is nobody's child of the same program. */
#include "arch/x86_64/emit.h"
#include "arch/x86_64/unistd.h"
#include "region/loader.h"
#include "region/log.h"
#include "region/rescue.h"
#include "region/rules.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "strategy/strategy.h"

static uintptr_t function_that_ends(const struct rule *rule) {
    struct link_map owner;
    return rule->address ? rule_address(rule) : loader_definition("pthread_exit", &owner);
}

/* pthread_exit(NULL), called from where the region was: cleanup handlers and destructors run natively. */
enum outcome strategy_end_thread(struct context *context, const struct rule *rule) {
    const struct mark *mark = innermost(context);
    const uint64_t log_bytes = context->log - mark->log;
    uintptr_t ending;
    if (context->state->sealed || os_gettid() == os_getpid() || !(ending = function_that_ends(rule)))
        return OUTCOME_RETURN;
    restore_registers(context, mark);
    context->registers.general[RSP] = mark->rsp;
    context->registers.general[RDI] = 0;
    context->rescue_is_double = 0;
    roll_back(context, mark);
    strategy_record(context, mark, STRATEGY_END_THREAD, log_bytes);
    commit_all(context);
    context->resume = ending;
    return OUTCOME_RESCUED;
}

/* A forked child whose parent runs the same program: not a server that has put itself into the background. */
static bool is_child(void) {
    enum { FORKED = 1 };
    return !module_runtime()->threads_known[FORKED] && os_same_program(os_parent());
}

enum outcome strategy_end_child(struct context *context, const struct rule *rule) {
    const struct mark *mark = innermost(context);
    const uint64_t log_bytes = context->log - mark->log;
    if (context->state->sealed || !is_child())
        return OUTCOME_RETURN;
    roll_back(context, mark);
    strategy_record(context, mark, STRATEGY_END_CHILD, log_bytes);
    commit_all(context);
    os_call(NR_exit_group, (long)rule->value[1], 0, 0, 0, 0, 0);
    __builtin_unreachable();
}
