/* What happens after a fault in a region: undo, return an error to the caller, tell about it. */
#ifndef STEMRW_RESCUE_H
#define STEMRW_RESCUE_H

#include "region/context.h"

/* From C on the private stack, for `return raise_fault(…)`: what `serve` returns.  .registers and .resume are the
 * rescue's, or, where the region's strategy is to let the program die, those of the fault that comes then. */
bool raise_fault(struct context *context, enum fault_class fault_class, uintptr_t pc, uintptr_t address);

/* From rescue_entry: the fault is in .fault_class, .fault_pc, .fault_address, and where the region has a strategy the
 * program's registers in .registers.  True: the FPU is to be as at an entry. */
bool rescue(struct context *context);

/* For strategies: .registers as the error value's receiver finds them; undo, and the mark is gone. */
void restore_registers(struct context *context, const struct mark *mark);
void roll_back(struct context *context, const struct mark *mark);

#endif
