/* A mark costs its region's entry one store: it is `seen` when C comes by for the first time.  So what an entry has
 * used is counted from the end of the slice in which it began, and never more than it has used.
 */
#include "fault/budget.h"

#include "os/linux.h"
#include "region/rescue.h"
#include "region/rules.h"
#include "strategy/strategy.h"
#include "translate/cache.h"

enum { TICKS, CPU_MILLISECONDS, MEMORY_BYTES, AFTER_RESCUE }; /* values of RULE_BUDGET */
enum {
    SHALLOW = 1024, /* all marks are looked at in each slice; when they are n times as many, in each n-th */
};

static struct mark *first_mark(const struct context *context) {
    return (struct mark *)context->marks_start + 1;
}

static struct mark *last_mark(const struct context *context) {
    return (struct mark *)context->mark;
}

/* From now on. */
static void begin(const struct context *context, struct mark *mark) {
    mark->seen = context->ticked;
    mark->memory = context->memory;
    mark->cpu = 0;
}

/* Marks are seen from the outside in: behind the first that has not been, none has. */
static void see(const struct context *context) {
    for (struct mark *mark = last_mark(context); mark >= first_mark(context) && !mark->seen; mark--) {
        begin(context, mark);
        mark->rescues = 0;
    }
}

/* NULL: its region may use any amount, or as much until something was rescued in it. */
static const struct rule *budget_of(const struct mark *mark) {
    const struct rule *rule = mark->patch->kind == PATCH_REGION ? rule_of(mark->patch, RULE_BUDGET) : NULL;
    return rule && rule->value[AFTER_RESCUE] && !mark->rescues ? NULL : rule;
}

static void raise_to(uint64_t *peak, uint64_t value) {
    uint64_t known = __atomic_load_n(peak, __ATOMIC_RELAXED);
    while (known < value && !__atomic_compare_exchange_n(peak, &known, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

/* Milliseconds of CPU time of this thread, and one; 0: not to be had. */
static uint32_t cpu_time(const struct context *context) {
    return context->state->sealed ? 0 : (uint32_t)os_cpu_milliseconds();
}

/* In a forked child the clock begins anew. */
static bool is_late(struct mark *mark, uint32_t now, uint64_t milliseconds) {
    if (!mark->cpu || now < mark->cpu)
        mark->cpu = now;
    return now - mark->cpu > milliseconds;
}

static bool took_too_long(struct context *context, struct mark *mark, const struct rule *budget, uint32_t *now) {
    const uint64_t slices = context->ticked - mark->seen; /* the first may have been seen at its end */
    raise_to(&mark->patch_state->peak_ticks, (slices + 2) * TICK_SLICE);
    if (budget->value[TICKS] && slices > budget->value[TICKS] / TICK_SLICE + 1)
        return true;
    if (!budget->value[CPU_MILLISECONDS])
        return false;
    if (!*now)
        *now = cpu_time(context);
    return is_late(mark, *now, budget->value[CPU_MILLISECONDS]);
}

static bool takes_too_much(struct mark *mark, const struct rule *budget, int64_t memory) {
    const int64_t used = memory - mark->memory;
    if (used <= 0)
        return false;
    raise_to(&mark->patch_state->peak_memory, (uint64_t)used);
    return budget->value[MEMORY_BYTES] && (uint64_t)used > budget->value[MEMORY_BYTES];
}

/* Of a recursion the outermost level: the others have been begun by it, and there are more to come. */
static bool may_be(const struct mark *mark, const struct mark *found) {
    return !found || (found->patch == mark->patch && !is_slice(found));
}

/* The fault is that mark's: those inside of it go with it. */
static bool is_found(struct context *context, const struct mark *mark) {
    if (!mark)
        return false;
    context->mark = (uint64_t)mark;
    context->depth = (uint64_t)(mark - first_mark(context)) + 1;
    context->mark_rsp = mark->rsp;
    return true;
}

bool budget_tick(struct context *context) {
    struct mark *found = NULL;
    uint32_t now = 0;
    context->left = TICK_SLICE;
    context->ticked++;
    if (context->ticked % (1 + context->depth / SHALLOW))
        return false;
    see(context);
    for (struct mark *mark = last_mark(context); mark >= first_mark(context); mark--) {
        const struct rule *budget = budget_of(mark);
        if (budget && may_be(mark, found) && took_too_long(context, mark, budget, &now))
            found = mark;
    }
    const uintptr_t pc = cache_source_of(context->resume);
    return is_found(context, found) && raise_fault(context, FAULT_HANG, pc, pc);
}

void budget_syscall(struct context *context) {
    if (budgets_count())
        context->left = context->left > TICKS_OF_SYSCALL ? context->left - TICKS_OF_SYSCALL : 1;
}

bool budget_exceeded(struct context *context, uint64_t bytes) {
    enum { ADDRESS_BITS = 47 }; /* more than there can be fails by itself */
    struct mark *found = NULL;
    if (!budgets_count() || bytes >> ADDRESS_BITS)
        return false;
    see(context);
    for (struct mark *mark = last_mark(context); mark >= first_mark(context); mark--) {
        const struct rule *budget = budget_of(mark);
        if (budget && may_be(mark, found) && takes_too_much(mark, budget, context->memory + (int64_t)bytes))
            found = mark;
    }
    return is_found(context, found);
}

bool budget_filled(struct context *context) {
    const uint64_t most = (context->log_end - context->log_start) / 2;
    struct mark *found = NULL;
    if (!budgets_count())
        return false;
    see(context);
    for (struct mark *mark = last_mark(context); mark >= first_mark(context); mark--)
        if (mark->rescues && budget_of(mark) && may_be(mark, found) && context->log - mark->log > most)
            found = mark;
    return is_found(context, found);
}

void budget_memory(struct context *context, int64_t bytes) {
    if (!budgets_count())
        return;
    see(context);
    context->memory += bytes;
}

void budget_rescued(struct context *context, const struct mark *rescued) {
    if (!budgets_count())
        return;
    see(context);
    context->memory = rescued->memory; /* the rollback gives back what is above */
    for (struct mark *mark = first_mark(context); mark < rescued; mark++) {
        const struct rule *budget = mark->rescues ? NULL : rule_of(mark->patch, RULE_BUDGET);
        if (budget && budget->value[AFTER_RESCUE])
            begin(context, mark);
        mark->rescues = 1;
    }
}
