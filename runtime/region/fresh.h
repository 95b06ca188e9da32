/* Memory that the program has got since the innermost checkpoint.  A rollback gives it back as it gives back a block of
 * the allocator, whatever is in it: stores to it need no log.
 */
#ifndef STEMRW_FRESH_H
#define STEMRW_FRESH_H

#include "region/context.h"

/* It has got whole pages from `start` to `end`, private to the process; the last record of the log gives them back. */
void fresh_add(struct context *context, uintptr_t start, uintptr_t end);

/* Some of these may be something else from now on. */
void fresh_forget(struct context *context, uintptr_t start, uintptr_t end);

/* Whether all that lies there is fresh. */
bool fresh_holds(const struct context *context, uintptr_t start, uintptr_t end);

/* Records were taken off the log. */
void fresh_follow(struct context *context);

#endif
