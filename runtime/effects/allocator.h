/* The allocator, while other threads are alive: asked natively, and undone by asking it again. */
#ifndef STEMRW_ALLOCATOR_H
#define STEMRW_ALLOCATOR_H

#include "effects/hooks.h"

/* A call of one of its functions.  True: a fault was raised. */
bool allocator_call(struct context *context, enum hook_kind kind, uintptr_t address);

/* For rollback and commit: vector registers are spared. */
void allocator_free(uintptr_t block);

#endif
