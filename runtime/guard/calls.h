/* Calls of the allocator that are redirected: natively (calls.c) and in regions (region.c). */
#ifndef STEMRW_CALLS_H
#define STEMRW_CALLS_H

#include "guard/arena.h"
#include "region/context.h"

struct request {
    enum guarded_call call;
    uint64_t a, b, c;
    const uint64_t *stack; /* at the return address */
    size_t size, alignment;
    bool guard, below; /* the caller is a site that a rule names, which wants the guard below the block */
};

/* Sets .guard and .below. */
void request_find_site(struct request *request);

/* Sets .size and .alignment.  False: nothing that we would give. */
bool request_is_allocation(struct request *request);
uintptr_t request_allocate(const struct request *request);

/* What freeing that address of the arena would be. */
enum fault_class freeing_fault(uintptr_t address);

void copy_block(uintptr_t to, size_t size, uintptr_t from, size_t old);

/* Whether one of entry.S: guard_entries is there. */
bool is_guard_entry(uintptr_t address);

/* A region comes to it.  True: a fault was raised. */
bool guarded_region_call(struct context *context, uintptr_t entry);

/* Whether a rule says that the operands of the instruction be checked (SERVICE_GUARD) before it runs … */
bool is_guarded_access(uintptr_t source);
/* … and whether one is no part of a block in use.  True: a fault was raised. */
bool guarded_access(struct context *context, uintptr_t source, uintptr_t address, size_t size);

#endif
