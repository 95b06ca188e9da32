/* Memory that a region has got from the system since its checkpoint.  A rollback gives it back, so what is written there
 * needs no undo: a region that allocates and fills does not fill the log.
 *
 * Known are a few ranges of private anonymous memory: of mmap, and above the page of the old program break.  They are
 * those of the filter's epoch (a new checkpoint, a rollback and a commit forget them), and of a thread that is alone.
 */
#ifndef STEMRW_FRESH_H
#define STEMRW_FRESH_H

#include "region/context.h"

void fresh_add(struct context *context, uintptr_t start, size_t size);

/* Something else may have come to lie there. */
void fresh_forget(struct context *context);

bool fresh_holds(const struct context *context, uintptr_t start, size_t size);

#endif
