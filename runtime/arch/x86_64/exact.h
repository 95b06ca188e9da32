/* The program's own registers at any point of the code cache. */
#ifndef STEMRW_EXACT_H
#define STEMRW_EXACT_H

#include "os/linux.h"
#include "region/context.h"

/* `at` is a thread's state with rip in the cache: make it the program's, with rip at the original instruction that is
 * about to run (or faults).  Exact but for arithmetic flags that are written before anybody reads them.  False: rip is
 * not in the cache, nothing was changed. */
bool exact_state(const struct context *context, struct os_context *at);

/* The same into .registers. */
void exact_keep(struct context *context, struct os_context *at);

/* The program's state as the runtime's C has left it in .registers, to go on at .resume. */
void exact_resume(const struct context *context, struct os_context *at);

#endif
