/* Who calls the allocator comes to entry.S: guard_entries first.  The addresses in all modules' global offset tables
 * (and those that data was initialised with) are replaced for what is given a block; in this file for what makes one. */
#ifndef STEMRW_REDIRECT_H
#define STEMRW_REDIRECT_H

#include <stdbool.h>
#include <stdint.h>

/* In the order of guard_entries. */
enum guarded_call {
    CALL_FREE,
    CALL_CFREE,
    CALL_REALLOC,
    CALL_REALLOCARRAY,
    CALL_USABLE_SIZE,
    CALL_EVERYWHERE, /* those above, in all modules; those below, in this file */
    CALL_MALLOC = CALL_EVERYWHERE,
    CALL_CALLOC,
    CALL_MEMALIGN,
    CALL_ALIGNED_ALLOC,
    CALL_POSIX_MEMALIGN,
    CALL_NEW,
    CALL_NEW_ARRAY,
    CALL_NEW_NOTHROW,
    CALL_NEW_ARRAY_NOTHROW,
    CALLS,
};
enum { GUARD_ENTRY_BYTES = 16 };

struct late_module {
    uint64_t dynamic;
    uint64_t slot; /* one that was redirected in it; 0: none */
};
enum { LATE_MODULES = 256 };

/* In the process's start, where the plan has sites to guard. */
void guards_start(void);

/* Modules that were loaded since are redirected too.  False: one could not be. */
bool redirect_late(void);

#endif
