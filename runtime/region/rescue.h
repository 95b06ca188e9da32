/* What happens after a fault in a region: undo, return an error to the caller, tell about it. */
#ifndef STEMRW_RESCUE_H
#define STEMRW_RESCUE_H

#include "region/context.h"

/* From C on the private stack.  Always true, for `return raise_fault(…)`: .registers and .resume are the rescue's. */
bool raise_fault(struct context *context, enum fault_class fault_class, uintptr_t pc, uintptr_t address);

/* From rescue_entry: the fault is in .fault_class, .fault_pc, .fault_address. */
void rescue(struct context *context);

#endif
