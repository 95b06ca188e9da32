/* Who calls the allocator comes to entry.S: guard_entries first.  For what is given a block, the addresses in all
 * modules' global offset tables are replaced (and those that data was initialised with), and in the allocator's table
 * of symbols, by which the loader binds modules that are loaded later, what is bound late, and dlsym; for what makes
 * one, those in this file's tables. */
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

/* In the process's start, where the plan has sites to guard. */
void guards_start(void);

/* The program's own function, where that is an address to which its calls were redirected; else the address itself. */
uintptr_t not_redirected(uintptr_t address);

#endif
