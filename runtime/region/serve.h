#ifndef STEMRW_SERVE_H
#define STEMRW_SERVE_H

#include "arch/x86_64/emit.h"
#include "region/context.h"

/* Entry from run_service.  True: a fault was raised and rolled back; .registers are those of the rescue. */
bool serve(struct context *context);

/* Make everything done in the active regions final; depth is 0 afterwards. */
void commit_all(struct context *context);

/* Commit, count, and resume at the original code of `address` with .registers. */
void go_native(struct context *context, uintptr_t address, enum reason reason);

/* Resume at `target` with .registers: translated while a region is active, natively once none is. */
bool go_to(struct context *context, uintptr_t target);

/* Where the program is that has asked for .service: at the instruction that is served. */
uintptr_t program_at(const struct context *context);

/* The innermost mark is left, what was done since stays. */
void pop_mark(struct context *context);

#endif
