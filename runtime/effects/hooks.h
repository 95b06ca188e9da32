/* Functions of the C library that are known by name, because what they do cannot be undone byte by byte while other
 * threads are alive.  Alone in its process a thread runs them as any other code. */
#ifndef STEMRW_HOOKS_H
#define STEMRW_HOOKS_H

#include "region/context.h"

enum hook_kind {
    HOOK_NONE,
    HOOK_MALLOC, /* (size), as operator new that does not throw */
    HOOK_NEW,    /* (size): without memory it calls a handler, or throws, by its own code */
    HOOK_CALLOC,
    HOOK_REALLOC,
    HOOK_REALLOCARRAY,
    HOOK_FREE,           /* (block, …), as operator delete */
    HOOK_MEMALIGN,       /* (alignment, size) */
    HOOK_NEW_ALIGNED,    /* (size, alignment) */
    HOOK_POSIX_MEMALIGN, /* (place of the result, alignment, size) */
    HOOK_VALLOC,         /* (size) */
    HOOK_RESOLVE, /* the dynamic linker finds what a stub calls for the first time: it comes to the same whoever does */
    HOOK_SETTLE,  /* waits for others, or tells them: what was done before it stays */
    HOOK_LEAVE,   /* a lock of readers and writers, or the allocator's own affairs: the region ends */
};

struct hook {
    uintptr_t address;
    uint32_t kind; /* enum hook_kind */
    uint32_t padding;
};
enum { MAX_HOOKS = 128 };

struct hooks {
    uint32_t known; /* looked up since code was last mapped */
    uint32_t count;
    uint64_t filter[16]; /* a bit by hash of each address */
    struct hook hooks[MAX_HOOKS];
    /* What the allocator is asked natively; 0: nothing is known of it, and its code is translated as any other. */
    uintptr_t malloc, calloc, free, memalign, usable_size;
    uint32_t glibc; /* it is glibc's own */
    uint32_t padding;
};

/* Whether such a function begins there.  Under the lock. */
bool is_hook(uintptr_t address);

/* One is called with other threads alive: do it, or go on with its code.  True: a fault was raised. */
bool hook_call(struct context *context, uintptr_t address);

/* As after the function's own ret.  True: a fault was raised. */
bool hook_return(struct context *context, uint64_t result);

/* Whether the allocator is among them. */
bool allocator_known(void);

/* Within a function of HOOK_SETTLE nothing is logged.  While it runs .quiet and .mark_rsp are where its return address
 * lies, so that its return comes to C as that of a region does.  For whoever is told that rsp has changed. */
void quiet_ends(struct context *context);

#endif
