#include "strategy/snapshot.h"

#include "region/runtime.h"

enum { STATE_COMPONENTS = 0xe7 }; /* x87, SSE, AVX, AVX-512: what programs compute with */

struct snapshot {
    uint64_t mark; /* 0: none */
    uint64_t resume;
    struct registers registers;
    uint8_t vectors[] __attribute__((aligned(64)));
};
_Static_assert(SNAPSHOT_OFFSET >= CONTEXT_USED && SNAPSHOT_OFFSET + SNAPSHOTS * SNAPSHOT_BYTES <= SHADOW_OFFSET,
               "they lie in the context's slot");
_Static_assert(offsetof(struct snapshot, vectors) + 2688 <= SNAPSHOT_BYTES, "the components end there at the latest");

static struct snapshot *slot_of(const struct context *context, const struct mark *mark) {
    const uint64_t depth = mark - (const struct mark *)context->marks_start;
    return (struct snapshot *)((char *)context + SNAPSHOT_OFFSET + depth % SNAPSHOTS * SNAPSHOT_BYTES);
}

static bool has_only_sse(void) {
    return module_runtime()->xsave_bytes <= 512;
}

void snapshot_take(struct context *context, const struct mark *mark) {
    if (!context->snapshots)
        context->snapshots = !context->state->sealed && os_protect((char *)context + SNAPSHOT_OFFSET,
                                                                   SNAPSHOTS * SNAPSHOT_BYTES, OS_READ | OS_WRITE);
    if (!context->snapshots)
        return;
    struct snapshot *snapshot = slot_of(context, mark);
    snapshot->mark = (uint64_t)mark;
    snapshot->resume = context->resume;
    snapshot->registers = context->registers;
    if (has_only_sse())
        __asm__ volatile("fxsave64 %0" : "=m"(*snapshot->vectors)::"memory");
    else
        __asm__ volatile("xsave64 %0" : "=m"(*snapshot->vectors) : "a"(STATE_COMPONENTS), "d"(0) : "memory");
}

static const struct snapshot *snapshot_of(const struct context *context, const struct mark *mark) {
    const struct snapshot *snapshot = context->snapshots ? slot_of(context, mark) : NULL;
    return snapshot && snapshot->mark == (uint64_t)mark ? snapshot : NULL;
}

bool snapshot_words(const struct context *context, const struct mark *mark, uint64_t *words) {
    enum { FIRST_REGISTER = 32 }; /* byte in what fxsave and xsave write: st0 …, then xmm0 … */
    const struct snapshot *snapshot = snapshot_of(context, mark);
    for (unsigned i = 0; snapshot && i < SNAPSHOT_GENERAL; i++)
        words[i] = snapshot->registers.general[i];
    for (unsigned i = SNAPSHOT_GENERAL; snapshot && i < SNAPSHOT_WORDS; i++)
        words[i] = ((const uint64_t *)(snapshot->vectors + FIRST_REGISTER))[i - SNAPSHOT_GENERAL];
    return snapshot;
}

bool snapshot_restore(struct context *context, const struct mark *mark) {
    const struct snapshot *snapshot = snapshot_of(context, mark);
    if (!snapshot)
        return false;
    context->resume = snapshot->resume;
    context->registers = snapshot->registers;
    if (has_only_sse())
        __asm__ volatile("fxrstor64 %0" ::"m"(*snapshot->vectors) : "memory");
    else
        __asm__ volatile("xrstor64 %0" ::"m"(*snapshot->vectors), "a"(STATE_COMPONENTS), "d"(0) : "memory");
    return true;
}
