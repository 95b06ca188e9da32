#include "region/outputs.h"

#include "region/loader.h"
#include "region/log.h"
#include "region/rules.h"
#include "region/runtime.h"

enum { ARGUMENTS = 6 };

/* a label of arch/x86_64/entry.S */
bool guarded_call(uint64_t function, uint64_t argument, uint64_t *result, uint64_t *guard);

/* What is there already is not written again: the log would grow with each rescue, and escalate.c take that for
 * progress. */
static bool put(struct context *context, uintptr_t address, uint64_t value, size_t size) {
    const uint64_t mask = ~0ull >> (64 - 8 * size);
    uint64_t now = 0;
    if (safe_copy(&now, (const void *)address, size) == size && now == (value & mask))
        return true;
    return (!context->depth || log_range(context, address, size)) && safe_copy((void *)address, &value, size) == size;
}

static uintptr_t find_errno(const struct rule *rule) {
    struct runtime *runtime = module_runtime();
    struct link_map owner;
    if (rule->address)
        return rule_address(rule);
    if (!runtime->errno_location) /* whoever looks finds the same */
        runtime->errno_location = loader_definition("__errno_location", &owner);
    return runtime->errno_location;
}

static bool set_errno(struct context *context, const struct rule *rule) {
    const uintptr_t function = find_errno(rule);
    uint64_t place;
    return function && guarded_call(function, 0, &place, &context->guard) &&
           put(context, place, rule->value[0], sizeof(int32_t));
}

/* A caller that passes NULL does not want the value. */
static bool set_out(struct context *context, const struct mark *mark, const struct rule *rule) {
    const uint64_t arguments[ARGUMENTS] = {mark->rdi, mark->rsi, mark->rdx, mark->rcx, mark->r8, mark->r9};
    const uint64_t pointer = rule->value[0] < ARGUMENTS ? arguments[rule->value[0]] : 0;
    const size_t size = rule->value[2];
    return !pointer || put(context, pointer + rule->value[1], rule->value[3], size);
}

void set_outputs(struct context *context, const struct mark *mark) {
    bool done = true;
    for (const struct rule *rule = rule_of(mark->patch, RULE_SET_OUT); rule; rule = rule_next(rule))
        done &= set_out(context, mark, rule);
    const struct rule *rule = rule_of(mark->patch, RULE_SET_ERRNO);
    if (rule)
        done &= set_errno(context, rule);
    if (!done)
        degrade(context->state, mark->patch, REASON_RULE);
}
