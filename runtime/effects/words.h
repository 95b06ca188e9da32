/* Words that locked operations change while other threads are alive: locks, flags, reference counts, list heads.
 *
 * What others do to such a word between our operations must survive a rollback, so it is not undone by its old bytes:
 *
 *   counted            add, sub, inc, dec, xadd: the sum of our differences is taken off again
 *   bits               and, or, xor, not, bts, btr, btc: the bits that we have changed are put back
 *   state              cmpxchg, xchg, and a plain store to the word afterwards: a chain of values, old → … → now.
 *                      If nobody has touched the word since, now → old.  Else a lock that we hold, for which others
 * wait (32 bits, old 0), is released and they are woken; a permit taken from a semaphore is given back.
 *
 * A chain that ends where it began is a lock taken and released, and it publishes: from here on others may see all that
 * the region has written, and build upon it.  Therefore a release first notes what the written bytes hold.  A rollback
 * takes the lock again and looks whether they still do.  If so they are undone, and the lock is released once more: its
 * next holder finds what it would have found without the region.  If not, the rollback ends here: that critical section
 * and all before it stay, as committed, and the recovery counts one more irreversible effect.  The same holds where a
 * word cannot be put back, and where a chain came by a third value to rest: an initialisation that is complete
 * (pthread_once, the guard of a static variable) stays, since others may use what it has made without touching the
 * word.
 */
#ifndef STEMRW_WORDS_H
#define STEMRW_WORDS_H

#include "region/log.h"

enum word_flags {
    WORD_COUNTED = 1 << 0,
    WORD_COMPARED = 1 << 1,
    WORD_EXCHANGED = 1 << 2, /* by xchg, or a plain store */
    WORD_BITS = 1 << 3,
    WORD_CLOSED = 1 << 4,   /* taken, and back at what it was */
    WORD_RELEASED = 1 << 5, /* a lock that was taken before: only released here */
    WORD_FINAL = 1 << 6,    /* an initialisation: stays */
    WORD_DEAD = 1 << 7,     /* others went on from it: nothing to undo */
    WORD_HELD = 1 << 8,     /* taken again, by the rollback */
};

/* Of the low `size` bytes. */
static inline uint64_t value_mask(size_t size) {
    return size >= 8 ? ~0ull : (1ull << 8 * size) - 1;
}

struct change { /* of `size` bytes at `address`: 1, 2, 4, 8, 16 */
    uintptr_t address;
    uint64_t old[2], now[2];
    uint32_t size;
    uint32_t how; /* one of the first four word_flags */
};

struct word { /* the data of a LOG_WORD record */
    uint64_t old[2], now[2];
    uint64_t total; /* of the differences */
    uint64_t mask;  /* WORD_BITS: which */
    uint32_t size;
    uint16_t flags;
    uint16_t first; /* how the first operation has changed it */
};

struct word_slot {
    uint64_t address, position; /* of its struct word, in the log; valid in this epoch only */
    uint64_t epoch;
};

/* Before an operation: what a release publishes is noted.  False: the log is full, or there are too many words. */
bool words_prepare(struct context *context, const struct change *change);
/* After it has succeeded. */
void words_done(struct context *context, const struct change *change);

/* What a plain store is about to do. */
enum store_meaning {
    STORE_DATA,    /* log its bytes */
    STORE_WORD,    /* changes a word: words_prepare, words_done */
    STORE_UNKNOWN, /* touches a word, or stands beside a counter that may be a queue's ticket: cannot be undone */
};
enum store_meaning words_store(struct context *context, uintptr_t address, size_t size, struct change *change);

/* For log_rollback.  False: what the record tells cannot be undone. */
bool word_undo(const struct record *record);
bool published_undo(const struct record *record);
/* The rollback ends at context->log: locks that the region holds, or the rollback, are released, down to `to`. */
void words_abandon(struct context *context, uint64_t to);

/* Commit all that the active regions have done, but for the locks that they hold, or have let go.  False: there are too
 * many of these; nothing is done. */
bool words_settle(struct context *context);

/* lock cmpxchg of `size` bytes: *expected becomes what was there.  1: exchanged, 0: not, -1: no such memory. */
int safe_exchange(uintptr_t address, size_t size, uint64_t *expected, const uint64_t *desired);

#endif
