/* The allocator, while other threads are alive: asked natively, and undone by asking it again. */
#ifndef STEMRW_ALLOCATOR_H
#define STEMRW_ALLOCATOR_H

#include "effects/hooks.h"

/* A call of one of its functions.  True: a fault was raised. */
bool allocator_call(struct context *context, enum hook_kind kind, uintptr_t address);

/* For rollback and commit, of guarded blocks too: vector registers are spared. */
void allocator_free(uintptr_t block);

/* Freed at the commit (LOG_FREED).  False: too much waits. */
bool allocator_free_later(struct context *context, uintptr_t block, uint64_t size);

#endif
