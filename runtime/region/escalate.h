/* Repeated faults: a rescue that leads to the same fault again and again moves further out (RULE_ESCALATE). */
#ifndef STEMRW_ESCALATE_H
#define STEMRW_ESCALATE_H

#include "region/context.h"

/* The checkpoint to go back to where `mark` was chosen: `mark`, or one further out. */
struct mark *escalated(struct context *context, struct mark *mark);

/* Whether the slice of `mark`, the innermost, has only led to the same fault for too long. */
bool slice_repeats(struct context *context, const struct mark *mark);

#endif
