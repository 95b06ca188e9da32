/* A caller that repeats a call until it succeeds would never get any further than the rescue.  A server that rejects
 * one bad request after the other gets further each time.  So rescues are counted within one entry of each region
 * further out, as long as nothing tells them apart:
 *
 *     same    the call finds exactly what the one before it found: the same registers, the same stack up to the region
 *             further out, nothing written to memory, no system call with an effect in between.  Then the program can
 *             do nothing but repeat it.
 *     alike   the same fault, called from the same place, with the same first arguments, and no input since; so many
 *             of them, or for so much of the thread's CPU time, since one may take long.
 *
 * Where one of the two reaches its limit, the fault is rescued in that region further out.  Without such a region there
 * is nothing to escalate to.  A slice that repeats in this way is its function's fault. */
#include "region/escalate.h"

#include "os/linux.h"
#include "region/log.h"
#include "region/rules.h"
#include "strategy/snapshot.h"
#include "strategy/strategy.h"

enum {
    RED_ZONE = 128,
    OUTER_MOST = 4,
    LEAST_ALIKE = 16,
    CHUNK_WORDS = 64,
    STACK_MOST = 8 << 10
}; /* bytes of stack that are compared: a microsecond */

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 32;
}

static uint64_t hash_words(uint64_t hash, const uint64_t *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        hash = mix(hash, words[i]);
    return hash;
}

/* Live frames between the call and the region further out.  False: another stack, or too much of it. */
static bool hash_stack(uint64_t *hash, uint64_t start, uint64_t end) {
    uint64_t words[CHUNK_WORDS];
    if (end - start > STACK_MOST)
        return false;
    for (; start < end; start += sizeof words) {
        const size_t size = end - start < sizeof words ? end - start : sizeof words;
        if (safe_copy(words, (const void *)start, size) < size)
            return false;
        *hash = hash_words(*hash, words, size / sizeof *words);
    }
    return true;
}

static uint64_t fault_of(const struct context *context, const struct mark *mark) {
    const uint64_t words[] = {context->fault_class,
                              context->fault_pc,
                              context->fault_address,
                              mark->return_address,
                              mark->rsp,
                              mark->rdi,
                              mark->rsi};
    return hash_words(0, words, sizeof words / sizeof *words);
}

/* 0: it cannot be told. */
static uint64_t moment_of(const struct context *context, const struct mark *mark, const struct mark *outer) {
    uint64_t hash = hash_words(context->irreversible, &mark->rbx, (&mark->log - &mark->rbx) + 1);
    return hash_stack(&hash, mark->rsp + 8, outer->rsp) ? hash | 1 : 0;
}

static struct mark *next_region(const struct context *context, struct mark *mark) {
    const struct patch *patch = mark->patch;
    while ((uint64_t)--mark > context->marks_start)
        if (mark->patch != patch && mark->patch->kind == PATCH_REGION)
            return mark;
    return NULL;
}

/* One more rescue of `patch`, within an entry of the region of `outer`. */
static bool is_stuck(struct context *context, const struct rule *rule, const struct patch *patch,
                     const struct mark *outer, uint64_t fault, uint64_t moment) {
    const uint64_t depth = ((uint64_t)outer - context->marks_start) / MARK_BYTES;
    struct repeats *last = &context->repeats[(patch->function / 16 + depth) % REPEATS];
    const struct repeats before = *last;
    *last = (struct repeats){
        .patch = patch,
        .outer = (uint64_t)outer,
        .entries = outer->patch_state->entries,
        .fault = fault,
        .moment = moment,
        .inputs = context->inputs,
    };
    if (before.patch != patch || before.outer != last->outer || before.entries != last->entries ||
        before.fault != fault)
        return false;
    last->same = moment && before.moment == moment ? before.same + 1 : 0;
    last->alike = before.inputs == last->inputs ? before.alike + 1 : 0;
    const uint64_t time = context->state->sealed ? 0 : os_cpu_milliseconds();
    last->since = last->alike > 1 ? before.since : time;
    const bool too_long = last->alike >= LEAST_ALIKE && time - last->since >= rule->value[2];
    const bool stuck = (rule->value[0] && last->same >= rule->value[0]) ||
                       (rule->value[1] && last->alike >= rule->value[1]) || (rule->value[2] && too_long);
    if (stuck)
        *last = (struct repeats){0};
    return stuck;
}

/* The nearest region further out within one entry of which nothing tells this rescue from the ones before: to go back
 * to one that is entered anew each time would not end it.  NULL: none. */
static struct mark *further_out(struct context *context, const struct rule *rule, struct mark *mark) {
    struct mark *outer = mark, *found = NULL;
    for (unsigned i = 0; i < OUTER_MOST && (outer = next_region(context, outer)); i++)
        if (is_stuck(context, rule, mark->patch, outer, fault_of(context, mark), moment_of(context, mark, outer)) &&
            !found)
            found = outer;
    return found;
}

struct mark *escalated(struct context *context, struct mark *mark) {
    const struct rule *rule;
    struct mark *outer;
    while ((rule = rule_of(mark->patch, RULE_ESCALATE)) && (outer = further_out(context, rule, mark)))
        mark = outer;
    return mark;
}

/* The loop is the function's own, and its checkpoint the next one: what it goes by is in registers, its frame, or the
 * bytes below that a function without calls may use. */
bool slice_repeats(struct context *context, const struct mark *mark) {
    const struct rule *rule = rule_of(mark->patch, RULE_ESCALATE);
    const struct mark *outer = mark - 1;
    uint64_t registers[SNAPSHOT_WORDS], here = fault_of(context, mark);
    if (!rule || !snapshot_words(context, mark, registers) || !hash_stack(&here, mark->rsp - RED_ZONE, outer->rsp))
        return false;
    here = hash_words(here, registers, SNAPSHOT_WORDS);
    const uint64_t changes[] = {context->irreversible, mark->log};
    return is_stuck(context, rule, mark->patch, outer, here, hash_words(here, changes, 2) | 1);
}
