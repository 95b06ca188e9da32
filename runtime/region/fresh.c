#include "region/fresh.h"

void fresh_add(struct context *context, uintptr_t start, size_t size) {
    const uintptr_t end = start + size;
    if (context->fresh_epoch != context->epoch)
        fresh_forget(context);
    context->fresh_epoch = context->epoch;
    for (unsigned i = 0; i < FRESH_RANGES; i++) { /* the kernel gives one below the other */
        struct fresh *known = &context->fresh[i];
        if (start > known->end || end < known->start || known->start == known->end)
            continue;
        known->start = start < known->start ? start : known->start;
        known->end = end > known->end ? end : known->end;
        return;
    }
    context->fresh[context->fresh_next++ % FRESH_RANGES] = (struct fresh){start, end};
}

void fresh_forget(struct context *context) {
    for (unsigned i = 0; i < FRESH_RANGES; i++)
        context->fresh[i] = (struct fresh){0, 0};
}

bool fresh_holds(const struct context *context, uintptr_t start, size_t size) {
    if (context->fresh_epoch != context->epoch || context->exact)
        return false;
    for (unsigned i = 0; i < FRESH_RANGES; i++)
        if (start >= context->fresh[i].start && start < context->fresh[i].end && size <= context->fresh[i].end - start)
            return true;
    return false;
}
