/* What is done about a fault where the plan asks for something else than the error value: docs/strategies.md.
 *
 * A region has at most one RULE_STRATEGY.  Whatever a strategy cannot do, the ordinary rescue does. */
#ifndef STEMRW_STRATEGY_H
#define STEMRW_STRATEGY_H

#include "include/rules.h"
#include "region/context.h"

enum outcome {
    OUTCOME_RETURN,  /* not this way: nothing was done that the ordinary rescue does not do too */
    OUTCOME_RESUME,  /* on at .resume with .registers; vector registers and the FPU's are in place */
    OUTCOME_RESCUED, /* the same, and the FPU is to be as at an entry: .rescue_mxcsr, .rescue_x87 */
};

/* Whether the innermost checkpoint's region asks for one: .registers have to be the program's at the fault. */
bool strategy_wanted(const struct context *context);

/* Whether there the program shall die of its faults as if it were not hardened (counted). */
bool strategy_lets_die(const struct context *context);

/* After a fault: .fault_class, .fault_pc, .fault_address, and .registers. */
enum outcome strategy_follow(struct context *context);

/* A region whose strategy must know of each entry; its code then asks for SERVICE_ENTERED behind the checkpoint. */
bool strategy_wants_entry(const struct patch *patch);
void strategy_entered(struct context *context);

/* The pieces; each is called for its own strategy only. */
enum outcome strategy_oblivious(struct context *context, const struct rule *rule);
enum outcome strategy_retry(struct context *context);
enum outcome strategy_end_thread(struct context *context, const struct rule *rule);
enum outcome strategy_end_child(struct context *context, const struct rule *rule);
enum outcome strategy_slice(struct context *context);

/* Tell of the recovery. */
void strategy_record(struct context *context, const struct mark *mark, enum strategy strategy, uint64_t log_bytes);

/* ---- slices (slice.c) ---- */

#define SLICE_MARK 0x5354736c69636500ull /* no address: returns never lead there */

/* A checkpoint in the middle of a function, rather than at its entry. */
static inline bool is_slice(const struct mark *mark) {
    return mark->return_address == SLICE_MARK;
}

bool slice_place(uintptr_t address); /* does one begin or end there? */
void slice_arrive(struct context *context, uintptr_t address);

/* ---- the altered environment (retry.c) ---- */

/* The region runs for the second time: allocations are roomier and zero, and a second free of a block does no harm. */
static inline bool is_altered(const struct context *context) {
    return context->altered != 0;
}

void strategy_retry_ends(struct context *context); /* at the commit, or when it is rolled back */
uint64_t altered_size(uint64_t size);              /* of an allocation then */

#endif
