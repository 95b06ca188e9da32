/* What a rescue tells the caller besides the result: errno, and values in out-parameters (RULE_SET_ERRNO,
 * RULE_SET_OUT). */
#ifndef STEMRW_OUTPUTS_H
#define STEMRW_OUTPUTS_H

#include "region/context.h"

/* Behind the undo to `mark`, whose registers are the function's arguments; the marks further out are the active ones,
 * and their rescues undo what is written here as any other store. */
void set_outputs(struct context *context, const struct mark *mark);

#endif
