/* Undoing words: each is put back, or brought to what comes nearest, while others may be at it. */
#include "arch/x86_64/unistd.h"
#include "effects/word.h"
#include "os/linux.h"

enum {
    YIELDS = 1000,   /* to whoever has a lock that a rollback wants again; then it sleeps */
    SLEEPS = 2000,   /* of 50 µs */
    MUTEX_KIND = 16, /* offsets in glibc's pthread_mutex_t */
    MUTEX_SPINS = 20,
    KIND_MASK = 127,
    KIND_ADAPTIVE = 3, /* PTHREAD_MUTEX_ADAPTIVE_NP */
    FUTEX_WAKE = 1,
    FUTEX_UNLOCK_PI = 7,
    FUTEX_PRIVATE = 128,
};
#define FUTEX_WAITERS 0x80000000ull

static bool swap(uintptr_t address, const struct word *word, const uint64_t *from, const uint64_t *to) {
    uint64_t expected[2] = {from[0], from[1]};
    return safe_exchange(address, word->size, expected, to) == 1;
}

static uint64_t read(uintptr_t address, uint32_t size) {
    uint64_t value = 0;
    safe_copy(&value, (const void *)address, size < 8 ? size : 8);
    return value;
}

/* Waiters may sleep on its low half, as those of a semaphore do. */
static void wake(uintptr_t address, const struct word *word, int count) {
    if (word->size < 4 || word->size > 8)
        return;
    os_call(NR_futex, (long)address, FUTEX_WAKE | FUTEX_PRIVATE, count, 0, 0, 0);
    os_call(NR_futex, (long)address, FUTEX_WAKE, count, 0, 0, 0);
}

/* Until it succeeds: *address := f(*address), where f puts back masked bits, or takes off a difference. */
static void merge(uintptr_t address, const struct word *word) {
    uint64_t now[2] = {0}, next[2] = {0};
    const bool bits = word->flags & WORD_BITS;
    safe_copy(now, (const void *)address, word->size);
    do {
        next[0] = bits ? (now[0] & ~word->mask) | (word->old[0] & word->mask) : now[0] - word->total;
        next[0] &= value_mask(word->size);
        next[1] = now[1];
    } while (safe_exchange(address, word->size, now, next) == 0);
}

/* A lock of 32 bits, 0 when free, that nobody else can have taken, but for which others have come to wait. */
static void force_free(uintptr_t address, const struct word *word) {
    const uint64_t now = read(address, 4), zero[2] = {0}, tid = (uint64_t)os_gettid();
    if (now == (word->now[0] | FUTEX_WAITERS) && word->now[0] == tid) { /* inherits priority: the kernel hands it on */
        if (os_call(NR_futex, (long)address, FUTEX_UNLOCK_PI | FUTEX_PRIVATE, 0, 0, 0, 0) == 0 ||
            os_call(NR_futex, (long)address, FUTEX_UNLOCK_PI, 0, 0, 0, 0) == 0)
            return;
    }
    uint64_t expected[2] = {now, 0};
    while (safe_exchange(address, 4, expected, zero) == 0)
        continue;
    wake(address, word, INT32_MAX);
}

/* Others have come and gone meanwhile, and what they have changed is not known from the values. */
static bool has_drifted(const struct word *word) {
    return word->size <= 8 && !(word->flags & (WORD_EXCHANGED | WORD_BITS)) && !is_lock(word) &&
           ((word->old[0] + word->total - word->now[0]) & value_mask(word->size));
}

/* now → old, or what comes nearest. */
static bool give_back(uintptr_t address, const struct word *word) {
    if (word->flags == WORD_COUNTED || word->flags == WORD_BITS) {
        merge(address, word);
        return true;
    }
    if (!has_drifted(word) && swap(address, word, word->now, word->old)) {
        wake(address, word, 1);
        return true;
    }
    const uint64_t now = read(address, word->size);
    if (is_lock(word) && word->size == 4 && now) {
        force_free(address, word);
        return true;
    }
    const bool taken = is_permit(word) && (word->total > SMALL || (is_lock(word) && word->size < 4 && now));
    if (taken) {
        merge(address, word);
        wake(address, word, 1);
    }
    return taken;
}

/* What a closed or released word is when it is free, and when it is held. */
static const uint64_t *free_value(const struct word *word) {
    return word->flags & WORD_RELEASED ? word->now : word->old;
}

static const uint64_t *held_value(const struct word *word) {
    return word->flags & WORD_RELEASED ? word->old : word->now;
}

/* A semaphore's permit: any will do. */
static bool take_permit(uintptr_t address, const struct word *word) {
    uint64_t now[2] = {read(address, word->size), 0};
    const uint64_t next[2] = {(now[0] + word->total) & value_mask(word->size), 0};
    return (uint32_t)now[0] >= (-word->total & value_mask(word->size)) &&
           safe_exchange(address, word->size, now, next) == 1;
}

static bool take_again(uintptr_t address, struct word *word) {
    const bool permit = is_permit(word) && word->total > SMALL;
    const int64_t nap[] = {0, 50000}; /* seconds, nanoseconds */
    for (unsigned i = 0; i < YIELDS + SLEEPS; i++) {
        if (permit ? take_permit(address, word) : swap(address, word, free_value(word), held_value(word))) {
            word->flags |= WORD_HELD;
            return true;
        }
        if (i < YIELDS)
            os_yield();
        else
            os_call(NR_nanosleep, (long)nap, 0, 0, 0, 0, 0);
    }
    return false;
}

static void let_go(uintptr_t address, struct word *word) {
    word->flags &= (uint16_t)~WORD_HELD;
    if (!give_back(address, word) && word->size <= 8)
        merge(address, word);
}

bool word_undo(const struct record *record) {
    struct word *word = (struct word *)record->data;
    if (word->flags & WORD_DEAD)
        return true;
    if (word->flags & WORD_FINAL)
        return false;
    if (word->flags & WORD_RELEASED)
        return word->flags & WORD_HELD || take_again(record->operand, word);
    if (!(word->flags & WORD_CLOSED))
        return give_back(record->operand, word);
    word->flags &= (uint16_t)~WORD_CLOSED;
    if (word->flags & WORD_HELD)
        let_go(record->operand, word);
    return true;
}

static bool still_holds(uintptr_t address, const uint64_t *data, size_t size) {
    for (size_t done = 0; done < size; done += 8) {
        uint64_t now = 0;
        safe_copy(&now, (const void *)(address + done), size - done < 8 ? size - done : 8);
        if (now != data[done / 8])
            return false;
    }
    return true;
}

/* An adaptive mutex has beside its word how long it is worth to wait for it: a guess, which everybody corrects. */
static bool is_guess(uintptr_t mutex, const struct record *bytes) {
    return mutex && bytes->operand == mutex + MUTEX_SPINS && bytes->size == sizeof(uint16_t) &&
           (read(mutex + MUTEX_KIND, 4) & KIND_MASK) == KIND_ADAPTIVE;
}

bool published_undo(const struct record *record) {
    const uint64_t *header = record->data, *data = header + PUBLISHED_BYTES;
    struct word *word = (struct word *)header[PUBLISHED_WORD];
    /* The word's own record lies just before its data. */
    const uintptr_t address = word ? log_record((uint64_t)(word + 1) + 16).operand : 0;
    if (word && !(word->flags & WORD_HELD) && !take_again(address, word))
        return false;
    bool ours = true;
    for (uint64_t at = (uint64_t)header; ours && at > header[PUBLISHED_FROM];) {
        const struct record bytes = log_record(at);
        at = (uint64_t)bytes.data;
        if (!is_published(&bytes, header))
            continue;
        ours = is_guess(address, &bytes) || still_holds(bytes.operand, data, bytes.size);
        data += (bytes.size + 7) / 8;
    }
    return ours;
}

/* Beside a lock lies whose it is: put back as long as it is held. */
static void restore_beside(const struct context *context, uintptr_t address, uint64_t down_to) {
    for (uint64_t at = context->log; at > down_to;) {
        const struct record record = log_record(at);
        at = (uint64_t)record.data;
        if (record.kind == LOG_BYTES && record.operand >= address && record.operand < address + BESIDE_BYTES)
            safe_copy((void *)record.operand, record.data, record.size);
    }
}

/* The newest record about a word in [to, from) that has these flags, and not those. */
static struct word *find_word(uint64_t from, uint64_t to, uintptr_t address, uint32_t with, uint32_t without) {
    while (from > to) {
        const struct record record = log_record(from);
        struct word *word = (struct word *)record.data;
        from = (uint64_t)record.data;
        if (record.kind == LOG_WORD && record.operand == address && (word->flags & with) == with &&
            !(word->flags & without))
            return word;
    }
    return NULL;
}

enum { SETTLED = WORD_DEAD | WORD_CLOSED | WORD_RELEASED | WORD_FINAL };

bool word_is_held(const struct record *record, uint64_t to) {
    const struct word *word = (const struct word *)record->data;
    const bool permit = is_permit(word) && word->flags & WORD_COMPARED && word->total > SMALL;
    return !(word->flags & SETTLED) && (permit || is_lock(word)) &&
           !find_word((uint64_t)record->data, to, record->operand, WORD_RELEASED, 0);
}

bool word_is_missing(const struct context *context, const struct record *record) {
    const struct word *word = (const struct word *)record->data;
    return word->flags & WORD_RELEASED && !(word->flags & WORD_HELD) &&
           !find_word(context->log, (uint64_t)record->data, record->operand, 0, SETTLED);
}

/* A lock that was held before the region shall be held behind it, one that was not shall not. */
void words_abandon(struct context *context, uint64_t to) {
    for (uint64_t at = context->log; at > to;) {
        const struct record record = log_record(at);
        struct word *word = (struct word *)record.data;
        at = (uint64_t)record.data;
        if (record.kind != LOG_WORD)
            continue;
        if (word->flags & WORD_CLOSED && word->flags & WORD_HELD)
            let_go(record.operand, word);
        if (word_is_missing(context, &record))
            take_again(record.operand, word);
        if (!word_is_held(&record, to))
            continue;
        restore_beside(context, record.operand, at);
        give_back(record.operand, word);
        word->flags |= WORD_DEAD;
    }
}
