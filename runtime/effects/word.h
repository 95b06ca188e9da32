/* What words.c, words_undo.c and words_settle.c say about a struct word. */
#ifndef STEMRW_WORD_H
#define STEMRW_WORD_H

#include "effects/words.h"

enum {
    SMALL = 0xffff,    /* a larger difference is no count of permits */
    BESIDE_BYTES = 16, /* from a lock's word on: owner, depth and users of pthread_mutex_t and of stdio's locks */
};

static inline bool same(const uint64_t *a, const uint64_t *b) {
    return a[0] == b[0] && a[1] == b[1];
}

static inline bool is_zero(const uint64_t *value) {
    return !(value[0] | value[1]);
}

static inline void set(uint64_t *to, const uint64_t *from) {
    to[0] = from[0];
    to[1] = from[1];
}

/* One taken from a semaphore, or put there. */
static inline bool is_permit(const struct word *word) {
    const uint64_t mask = value_mask(word->size);
    return word->size <= 8 && !(word->flags & (WORD_EXCHANGED | WORD_BITS)) &&
           (word->total <= SMALL || (-word->total & mask) <= SMALL);
}

static inline bool is_lock(const struct word *word) {
    return word->first != WORD_COUNTED && word->flags & (WORD_COMPARED | WORD_EXCHANGED) && is_zero(word->old) &&
           !is_zero(word->now);
}

/* Data of LOG_PUBLISHED: the word's position, where the log begins that it is about, the stack that does not count, and
 * what the bytes logged hold, from the last one back. */
enum { PUBLISHED_WORD, PUBLISHED_FROM, PUBLISHED_RSP, PUBLISHED_STACK, PUBLISHED_BYTES };

static inline bool is_published(const struct record *record, const uint64_t *header) {
    const bool own_stack = record->operand >= header[PUBLISHED_RSP] && record->operand < header[PUBLISHED_STACK];
    return record->kind == LOG_BYTES && !own_stack;
}

/* A new record about a word.  _closed: no later operation goes on from it. */
bool word_append(struct context *context, uintptr_t address, const struct word *word);
bool word_append_closed(struct context *context, uintptr_t address, const struct word *word);

/* A lock or a permit that the region has taken, down to `to`, and has not let go.  */
bool word_is_held(const struct record *record, uint64_t to);
/* One that was held before the region, and is not now. */
bool word_is_missing(const struct context *context, const struct record *record);

#endif
