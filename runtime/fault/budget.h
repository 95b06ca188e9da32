/* Budgets: what one entry of a region may use of time and memory before that is a fault.
 *
 * Translated code counts ticks down in context.left: one wherever a loop is closed, a function is called or an indirect
 * jump is made (arch/x86_64/ticks.h), and TICKS_OF_SYSCALL for a system call.  So whatever does not end comes here,
 * once for each slice.  Only files that have a budget count (HEADER_COUNTS).
 */
#ifndef STEMRW_BUDGET_H
#define STEMRW_BUDGET_H

#include "region/context.h"
#include "region/runtime.h"

enum {
    TICKS_OF_SYSCALL = 256, /* about what it costs */
};

static inline bool budgets_count(void) {
    return payload_header.flags & HEADER_COUNTS;
}

/* A slice is used up; .resume is the code of the instruction that is about to run.  True: that was too much, and a
 * fault (FAULT_HANG) was raised at the region whose budget it was. */
bool budget_tick(struct context *context);

/* A system call is about to be made. */
void budget_syscall(struct context *context);

/* The program is about to get so many bytes more.  True: that would be too much, and a fault (FAULT_MEMORY_EXHAUSTION)
 * has to be raised: it is that of the region that is innermost now. */
bool budget_exceeded(struct context *context, uint64_t bytes);

/* The log is full, and what comes would run natively.  True: most of it is that of a region in which a fault was
 * rescued before and which has a budget from then on; that is too much (FAULT_MEMORY_EXHAUSTION), and the fault is that
 * region's. */
bool budget_filled(struct context *context);

/* It has got them; less than 0: given them back. */
void budget_memory(struct context *context, int64_t bytes);

/* The region of `mark` is about to be left by a rescue. */
void budget_rescued(struct context *context, const struct mark *mark);

#endif
