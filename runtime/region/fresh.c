#include "region/fresh.h"

static bool is_fresh(const struct context *context, const struct fresh *fresh) {
    return context->depth && fresh->record > innermost(context)->log;
}

/* Heaps grow piece by piece, upwards; mappings often downwards. */
static struct fresh *neighbour(struct context *context, uintptr_t start, uintptr_t end) {
    for (struct fresh *fresh = context->fresh; fresh < context->fresh + FRESH_MOST; fresh++)
        if (is_fresh(context, fresh) && (fresh->end == start || fresh->start == end))
            return fresh;
    return NULL;
}

void fresh_add(struct context *context, uintptr_t start, uintptr_t end) {
    struct fresh *fresh = neighbour(context, start, end);
    if (context->exact || start >= end) /* others could have built upon it: the log would tell */
        return;
    if (fresh) {
        fresh->start = start < fresh->start ? start : fresh->start;
        fresh->end = end > fresh->end ? end : fresh->end;
        return;
    }
    fresh = context->fresh;
    for (struct fresh *next = fresh; next < context->fresh + FRESH_MOST; next++)
        if (!next->record || (fresh->record && next->end - next->start < fresh->end - fresh->start))
            fresh = next;
    *fresh = (struct fresh){start, end, context->log};
}

void fresh_forget(struct context *context, uintptr_t start, uintptr_t end) {
    for (struct fresh *fresh = context->fresh; fresh < context->fresh + FRESH_MOST; fresh++)
        if (start < fresh->end && fresh->start < end)
            *fresh = (struct fresh){0};
}

bool fresh_holds(const struct context *context, uintptr_t start, uintptr_t end) {
    for (const struct fresh *fresh = context->fresh; fresh < context->fresh + FRESH_MOST; fresh++)
        if (fresh->start <= start && end <= fresh->end && is_fresh(context, fresh))
            return !context->exact;
    return false;
}

void fresh_follow(struct context *context) {
    for (struct fresh *fresh = context->fresh; fresh < context->fresh + FRESH_MOST; fresh++)
        if (fresh->record > context->log)
            *fresh = (struct fresh){0};
}
