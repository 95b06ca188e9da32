/* The undo log of a thread: what memory held, and which operations must be reversed, since the innermost mark.
 *
 * Records are read backwards, so each ends with its description:
 *
 *     data, padded to 8 bytes │ address or operand │ size | kind << 56
 *
 * Alone in its process a thread logs granules (GRANULE_BYTES and an overhang for stores that begin in one and end in
 * the next), each once per mark: the filter that translated code asks knows the recent ones, a larger one behind it the
 * others.  In memory shared with other processes, and with other threads alive, exactly the bytes about to be written
 * are logged, each time: restoring more would revert a neighbour's work.
 */
#ifndef STEMRW_LOG_H
#define STEMRW_LOG_H

#include "region/context.h"

enum log_kind {
    LOG_BYTES = 0,      /* memory: restore */
    LOG_UNMAP,          /* mmap of (address, size): unmap it */
    LOG_CLOSE,          /* a descriptor (address) that came to be: close it */
    LOG_OFFSET,         /* where descriptor (address) was read or written, see effects/positions.h */
    LOG_SIGNAL_MASK,    /* was (address) */
    LOG_SIGNAL_STACK,   /* was at (address); data = flags, size */
    LOG_SIGNAL_ACTION,  /* of signal (address); data = struct os_sigaction */
    LOG_BREAK,          /* program break was (address) */
    LOG_REMAP,          /* mremap: data = old address, old size, new address, new size */
    LOG_DEFERRED_UNMAP, /* munmap of (address, data[0]) waits for the commit */
    LOG_WORD,           /* struct word: what locked operations have made of (address), see effects/words.h */
    LOG_PUBLISHED,      /* what the bytes logged before held when others could begin to see them, see effects/words.h */
    LOG_ALLOCATED,      /* block (address) came from the allocator: free it */
    LOG_FREED,          /* block (address), of data[0] bytes, waits for the commit; it began with data[1] */
    LOG_ALTERED,        /* the region runs for the second time (strategy/retry.c) */
    LOG_NOTHING,        /* and has been done */
    LOG_CHANGED,        /* memory: a bit for each byte that shall be restored, then those bytes (log_settle) */
};

/* A record, found by where it ends; data is where the one before it ends. */
struct record {
    uint64_t *data;
    size_t size; /* bytes of data, without padding */
    uint64_t operand;
    enum log_kind kind;
};

enum { LOG_PROBED = 1 << 20 }; /* of a longer range only what is mapped is logged */

/* Somebody else (a signal handler of the program's) is about to write, maybe beside what the region has written: only
 * bytes that the region has changed by now are restored of what was logged in granules. */
void log_settle(struct context *context);

/* Reserve the log; false: no memory at all. */
bool log_create(struct context *context);

/* Give it back. */
void log_destroy(struct context *context);

/* Before `size` bytes at `address` change, upwards.  False: the log is full. */
bool log_range(struct context *context, uintptr_t address, size_t size);
bool log_operation(struct context *context, enum log_kind kind, uint64_t operand, const uint64_t *data, size_t words);
bool log_defers(const struct context *context, uintptr_t start, size_t size); /* an unmap in there waits */

/* A rollback would change mappings there, or their bytes. */
bool log_touches(const struct context *context, uintptr_t start, size_t size);
/* These numbers are others' now, or may become so; `positions_only`: what was opened is still to be closed. */
void log_forget_descriptors(struct context *context, uint64_t first, uint64_t last, bool positions_only);

/* A rollback shall restore this there, where it would restore something older. */
void log_amend(struct context *context, uintptr_t address, const void *data, size_t size);

struct record log_record(uint64_t end);
bool log_has_room(const struct context *context, size_t size); /* for one more record with `size` bytes of data */

/* A record whose data is at .log already. */
void log_close(struct context *context, enum log_kind kind, uint64_t operand, size_t size);

/* Undo everything back to position `to`, or as far as other threads have not built upon it (effects/words.h): .log is
 * beyond `to` then.  Or make it final. */
void log_rollback(struct context *context, uint64_t to);
void log_commit(struct context *context);

/* What waits for the commit cannot wait any longer. */
void log_run_deferred(struct context *context);

/* Forget what the filter knows: after a rollback, and when it begins to matter that other threads exist. */
void log_new_epoch(struct context *context);

size_t safe_copy(void *to, const void *from, size_t size); /* bytes copied until the first that faults */

#endif
