/* Guarded blocks in regions.  A new one goes back at rollback (LOG_ALLOCATED).  One that is freed is inaccessible at
 * once, and in use again after a rollback (LOG_FREED).  What is wrong with a block that is freed is a fault. */
#include "arch/x86_64/entry.h"
#include "effects/allocator.h"
#include "effects/hooks.h"
#include "fault/budget.h"
#include "guard/calls.h"
#include "region/log.h"
#include "region/rescue.h"
#include "region/rules.h"
#include "region/runtime.h"
#include "region/serve.h"

enum { LEAST_ROOM = 256 }; /* in the log: for two records */

bool is_guard_entry(uintptr_t address) {
    const uintptr_t into = address - (uintptr_t)&guard_entries;
    return into < CALLS * GUARD_ENTRY_BYTES && into % GUARD_ENTRY_BYTES == 0;
}

static bool is_reallocation(const struct request *request) {
    return request->call == CALL_REALLOC || request->call == CALL_REALLOCARRAY;
}

/* No more can be done here: natively, it is tried again. */
static bool give_up(struct context *context, const struct request *request) {
    go_native(context, (uintptr_t)&guard_entries + request->call * GUARD_ENTRY_BYTES, REASON_GUARD);
    return false;
}

static void note(struct context *context, const struct request *request, uint64_t made) {
    log_operation(context, LOG_ALLOCATED, made, NULL, 0);
    budget_memory(context, (int64_t)request->size);
}

/* free and realloc of a block of the arena; `result` is what the call gives. */
static bool release(struct context *context, const struct request *request, uint64_t made, uint64_t result) {
    const enum fault_class wrong = freeing_fault(request->a);
    const size_t size = wrong ? 0 : arena_block(request->a)->size;
    if (!wrong && made)
        copy_block(made, request->size, request->a, size);
    if (!wrong && allocator_free_later(context, request->a, size)) {
        if (made)
            note(context, request, made);
        return hook_return(context, result);
    }
    if (made)
        arena_free(made);
    return wrong ? raise_fault(context, wrong, request->stack[0] - 1, request->a) : give_up(context, request);
}

static bool reallocate(struct context *context, struct request *request) {
    const uint64_t made = request->size ? request_allocate(request) : 0;
    return request->size && !made ? give_up(context, request) : release(context, request, made, made);
}

static bool allocate(struct context *context, const struct request *request) {
    const bool to_place = request->call == CALL_POSIX_MEMALIGN;
    if (to_place && !log_range(context, request->a, sizeof(uint64_t)))
        return give_up(context, request);
    uint64_t made = request->guard ? request_allocate(request) : 0;
    if (made && to_place && safe_copy((void *)request->a, &made, sizeof made) < sizeof made) {
        arena_free(made);
        made = 0;
    }
    if (!made)
        return go_to(context, guards()->original[request->call]);
    note(context, request, made);
    return hook_return(context, to_place ? 0 : made);
}

bool guarded_region_call(struct context *context, uintptr_t entry) {
    const uint64_t *general = context->registers.general;
    struct request request = {
        .call = (enum guarded_call)((entry - (uintptr_t)&guard_entries) / GUARD_ENTRY_BYTES),
        .a = general[RDI],
        .b = general[RSI],
        .c = general[RDX],
        .stack = (const uint64_t *)general[RSP],
    };
    const bool held = arena_holds(request.a);
    if (!context->depth || context->quiet || !in_checkpoint(context) || !log_has_room(context, LEAST_ROOM))
        return give_up(context, &request);
    if (held && request.call == CALL_USABLE_SIZE)
        return hook_return(context, arena_block(request.a) ? arena_block(request.a)->size : 0);
    if (held && (request.call == CALL_FREE || request.call == CALL_CFREE))
        return release(context, &request, 0, general[RAX]);
    const bool moves = is_reallocation(&request) && request.a;
    if (request.call >= CALL_MALLOC || is_reallocation(&request)) {
        request_find_site(&request);
        if (!request_is_allocation(&request))
            return go_to(context, guards()->original[request.call]); /* to be refused */
        if (request.guard && budget_exceeded(context, request.size))
            return raise_fault(context, FAULT_MEMORY_EXHAUSTION, request.stack[0] - 1, request.stack[0] - 1);
        if (!moves)
            return allocate(context, &request);
        if (held)
            return reallocate(context, &request);
    }
    return go_to(context, guards()->original[request.call]);
}

bool is_guarded_access(uintptr_t source) {
    const uint64_t at = source - load_bias();
    for (const struct rule *rule = guards() ? rule_of(NULL, RULE_GUARD_ACCESS) : NULL; rule; rule = rule_next(rule))
        if (at - rule->address < rule->end - rule->address)
            return true;
    return false;
}

bool guarded_access(struct context *context, uintptr_t source, uintptr_t address, size_t size) {
    const enum fault_class wrong = size && in_checkpoint(context) ? arena_check(address, size) : FAULT_NONE;
    return wrong && raise_fault(context, wrong, source, address);
}
