/* The program sets itself a limit of address space (RLIMIT_AS), and what the runtime has reserved counts: of that it
 * keeps what is in use, and a small part of the limit for each.  What other threads have stays. */
#include "region/room.h"

#include "region/log.h"
#include "region/runtime.h"
#include "translate/cache.h"

enum { PART = 16 /* of the limit */, SPARE_MARKS = 64 };

/* From `used` on, or what has that part, to `end`; the new end. */
static uint64_t give_back(uint64_t start, uint64_t used, uint64_t end, uint64_t part) {
    const uint64_t wanted = (used - start > part ? used : start + part), keep = (wanted + OS_PAGE - 1) & -OS_PAGE;
    if (keep >= end)
        return end;
    os_unmap((void *)keep, end - keep);
    return keep;
}

static void shrink_context(struct context *context, uint64_t part) {
    context->log_end = give_back(context->log_start, context->log + part / 4, context->log_end, part);
    const uint64_t start = context->marks_start, used = context->mark + SPARE_MARKS * MARK_BYTES;
    const uint64_t end = give_back(start, used, context->mark_last + MARK_BYTES, part / 4);
    context->mark_last = start + (end - start) / MARK_BYTES * MARK_BYTES - MARK_BYTES;
}

void make_room(struct context *context, uint64_t limit) {
    struct state *state = context->state;
    const uint64_t part = limit / PART & -OS_PAGE;
    if (state->sealed || part < OS_PAGE || part >= 1ull << 30 || !runtime_lock())
        return;
    shrink_context(context, part);
    const uint64_t slots = state->contexts_used + part / CONTEXT_BYTES, used = state->contexts + slots * CONTEXT_BYTES;
    const uint64_t end = give_back(state->contexts, used, state->contexts + state->contexts_size, 0);
    state->contexts_size = end - state->contexts;
    for (uint32_t i = 0; i < module_runtime()->cache->arena_count; i++) {
        struct arena *arena = &module_runtime()->cache->arenas[i];
        arena->end = give_back(arena->code, arena->staged, arena->end, part);
    }
    runtime_unlock();
}
