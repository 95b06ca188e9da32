/* What the user has said must hold before an instruction (RULE_PREDICATE). */
#ifndef STEMRW_PREDICATE_H
#define STEMRW_PREDICATE_H

#include "region/context.h"

bool has_predicate(uintptr_t source);

/* With .registers as the instruction finds them.  What cannot be known (unreadable memory) holds, and is counted. */
bool predicates_hold(const struct context *context, uintptr_t source);

#endif
