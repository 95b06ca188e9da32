#include "effects/words.h"

#include "arch/x86_64/emit.h"
#include "arch/x86_64/unistd.h"
#include "os/linux.h"

enum {
    PROBES = 8,
    YIELDS = 1000, /* to whoever has a lock that a rollback wants again; then it sleeps */
    SLEEPS = 2000, /* of 50 µs */
    SMALL = 0xffff,   /* a larger difference is no count of permits */
    BESIDE_BYTES = 16, /* from a lock's word on: owner, depth and users of pthread_mutex_t and of stdio's locks */
    MUTEX_KIND = 16,   /* offsets in glibc's pthread_mutex_t */
    MUTEX_SPINS = 20,
    KIND_MASK = 127,
    KIND_ADAPTIVE = 3,
    FUTEX_WAKE = 1,
    FUTEX_UNLOCK_PI = 7,
    FUTEX_PRIVATE = 128,
};
#define FUTEX_WAITERS 0x80000000ull

static bool same(const uint64_t *a, const uint64_t *b) {
    return a[0] == b[0] && a[1] == b[1];
}

static bool is_zero(const uint64_t *value) {
    return !(value[0] | value[1]);
}

static void set(uint64_t *to, const uint64_t *from) {
    to[0] = from[0];
    to[1] = from[1];
}

/* ---- where the log has a word ---- */

static struct word_slot *slot_of(struct context *context, uintptr_t address, bool wanted) {
    struct word_slot *slots = (struct word_slot *)((char *)context + WORDS_OFFSET), *free = NULL;
    for (unsigned i = 0, at = (unsigned)((address * 0x9e3779b97f4a7c15ull) >> 54); i < PROBES; i++, at++) {
        struct word_slot *slot = &slots[at & (WORD_SLOTS - 1)];
        if (slot->epoch != context->epoch)
            free = free ? free : slot;
        else if (slot->address == address)
            return slot;
    }
    return wanted ? free : NULL;
}

/* The word's record since the innermost mark; NULL: none that goes on. */
static struct word *open_word(struct context *context, uintptr_t address) {
    const struct word_slot *slot = slot_of(context, address, false);
    struct word *word = slot ? (struct word *)slot->position : NULL;
    return word && !(word->flags & (WORD_CLOSED | WORD_RELEASED | WORD_DEAD)) ? word : NULL;
}

/* In context.words, for all words that begin in the same 8 bytes. */
static uint64_t word_bit(uintptr_t address) {
    return 1ull << ((address >> 3) * 0x9e3779b97f4a7c15ull >> 58);
}

/* ---- before and after an operation ---- */

static void advance(struct word *word, const struct change *change) {
    const uint64_t bits = change->old[0] ^ change->now[0];
    if (change->how == WORD_BITS) {
        word->old[0] = (word->old[0] & word->mask) | (change->old[0] & ~word->mask);
        word->mask |= bits;
    }
    word->total = (word->total + change->now[0] - change->old[0]) & value_mask(word->size);
    word->flags |= (uint16_t)change->how;
    set(word->now, change->now);
}

static struct word begin(const struct change *change) {
    struct word word = {.size = change->size, .first = (uint16_t)change->how};
    set(word.old, change->old);
    advance(&word, change);
    return word;
}

/* Others have gone on from what the chain had come to, by other means than counting: a lock that we had to wait for. */
static bool is_broken(const struct word *word, const struct change *change) {
    return (word->flags | change->how) & WORD_EXCHANGED && !same(change->old, word->now);
}

/* What others do to a semaphore between our operations may bring it to where it was, with a permit of theirs in our
 * hands: differences decide.  What they do to a lock that we have is to note that they wait: values decide. */
static bool is_back(const struct word *word, const struct change *change) {
    struct word after = *word;
    advance(&after, change);
    if (after.flags == WORD_BITS)
        return !((after.old[0] ^ after.now[0]) & after.mask);
    if (after.size == 16 || after.flags & (WORD_EXCHANGED | WORD_BITS))
        return same(after.now, after.old);
    if (after.first == WORD_COUNTED || (after.flags == WORD_COMPARED && !after.total))
        return !after.total;
    return same(after.now, after.old) && (after.flags != WORD_COMPARED || is_zero(after.now));
}

/* One taken from a semaphore, or put there. */
static bool is_permit(const struct word *word) {
    const uint64_t mask = value_mask(word->size);
    return word->size <= 8 && !(word->flags & (WORD_EXCHANGED | WORD_BITS)) &&
           (word->total <= SMALL || (-word->total & mask) <= SMALL);
}

static bool is_release(const struct change *change) {
    const struct word word = begin(change);
    return change->how & (WORD_COMPARED | WORD_EXCHANGED) && is_zero(change->now) && !is_zero(change->old) &&
           (!is_permit(&word) || change->size == 1);
}

/* Data of LOG_PUBLISHED: the word's position, where the log begins that it is about, the stack that does not count, and
 * what the bytes logged hold, from the last one back. */
enum { PUBLISHED_WORD, PUBLISHED_FROM, PUBLISHED_RSP, PUBLISHED_STACK, PUBLISHED_BYTES };

static bool is_published(const struct record *record, const uint64_t *header) {
    const bool own_stack = record->operand >= header[PUBLISHED_RSP] && record->operand < header[PUBLISHED_STACK];
    return record->kind == LOG_BYTES && !own_stack;
}

static bool publish(struct context *context, const struct word *word) {
    if (!log_has_room(context, PUBLISHED_BYTES * sizeof(uint64_t)))
        return false;
    uint64_t *header = (uint64_t *)context->log, *data = header + PUBLISHED_BYTES;
    header[PUBLISHED_WORD] = (uint64_t)word;
    header[PUBLISHED_FROM] = context->published;
    header[PUBLISHED_RSP] = context->registers.general[RSP];
    header[PUBLISHED_STACK] = ((struct mark *)context->marks_start)[1].rsp;
    for (uint64_t at = context->log; at > context->published;) {
        const struct record record = log_record(at);
        at = (uint64_t)record.data;
        if (!is_published(&record, header))
            continue;
        const size_t before = (uintptr_t)data - context->log, padded = (record.size + 7) & ~(size_t)7;
        if (!log_has_room(context, before + padded))
            return false;
        data[padded / 8 - 1] = 0;
        safe_copy(data, (const void *)record.operand, record.size);
        data += padded / 8;
    }
    if (data == header + PUBLISHED_BYTES)
        return true;
    log_close(context, LOG_PUBLISHED, 0, (uintptr_t)data - context->log);
    context->published = context->log;
    context->deferred++;
    return true;
}

static bool append_word(struct context *context, uintptr_t address, const struct word *word) {
    context->words |= word_bit(address);
    return log_operation(context, LOG_WORD, address, (const uint64_t *)word, sizeof *word / sizeof(uint64_t));
}

static bool append(struct context *context, uintptr_t address, const struct word *word) {
    struct word_slot *slot = slot_of(context, address, true);
    if (!slot)
        return false;
    slot->address = address;
    slot->epoch = context->epoch;
    slot->position = context->log;
    return append_word(context, address, word);
}

bool words_prepare(struct context *context, const struct change *change) {
    struct word *word = open_word(context, change->address);
    if (!slot_of(context, change->address, true))
        return false;
    const bool known = word && word->size == change->size;
    if (known && is_back(word, change) && (word->flags | change->how) != WORD_COUNTED && !publish(context, word))
        return false;
    if (!known && is_release(change) && !publish(context, NULL))
        return false;
    return log_has_room(context, sizeof *word);
}

void words_done(struct context *context, const struct change *change) {
    struct word *word = open_word(context, change->address);
    if (same(change->old, change->now))
        return;
    if (word && word->size != change->size) {
        word->flags |= WORD_FINAL; /* in pieces: not for us to undo */
        return;
    }
    if (word && is_back(word, change)) {
        word->flags |= (uint16_t)(WORD_CLOSED | change->how); /* .now stays: to take it again */
        return;
    }
    if (word && is_broken(word, change)) {
        word->flags |= WORD_DEAD;
        word = NULL;
    }
    if (!word) {
        struct word fresh = begin(change);
        fresh.flags |= is_release(change) ? WORD_RELEASED : 0;
        append(context, change->address, &fresh);
        return;
    }
    if (change->how == WORD_EXCHANGED && word->flags & WORD_COMPARED && is_zero(word->old))
        word->flags |= WORD_FINAL;
    advance(word, change);
}

/* A store to a word is a release, or the end of an initialisation.  One beside a counter, in the same 8 bytes, may be
 * the turn that a ticket lock hands on. */
enum store_meaning words_store(struct context *context, uintptr_t address, size_t size, struct change *change) {
    const uintptr_t around = address & ~(uintptr_t)7;
    const uintptr_t candidates[] = {address, address & ~(uintptr_t)3, around, around + 4, around + 2, around + 6};
    if (!(context->words & word_bit(address)))
        return STORE_DATA;
    for (unsigned i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        const struct word *word = open_word(context, candidates[i]);
        if (!word)
            continue;
        const bool touches = candidates[i] < address + size && address < candidates[i] + word->size;
        if (word->flags == WORD_COUNTED && !touches)
            return size < 8 && word->size < 8 ? STORE_UNKNOWN : STORE_DATA;
        if (!touches)
            continue;
        if (word->flags == WORD_COUNTED)
            return STORE_UNKNOWN;
        if (candidates[i] != address || size > word->size || word->size > 8)
            return STORE_UNKNOWN;
        *change = (struct change){.address = address, .size = word->size, .how = WORD_EXCHANGED};
        return STORE_WORD;
    }
    return STORE_DATA;
}

/* ---- undoing ---- */

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

static bool is_lock(const struct word *word) {
    return word->first != WORD_COUNTED && word->flags & (WORD_COMPARED | WORD_EXCHANGED) && is_zero(word->old) &&
           !is_zero(word->now);
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

/* A lock or a permit that the region has taken, down to `to`, and has not let go.  */
static bool is_held(const struct record *record, uint64_t to) {
    const struct word *word = (const struct word *)record->data;
    const bool permit = is_permit(word) && word->flags & WORD_COMPARED && word->total > SMALL;
    return !(word->flags & SETTLED) && (permit || is_lock(word)) &&
           !find_word((uint64_t)record->data, to, record->operand, WORD_RELEASED, 0);
}

/* One that was held before the region, and is not now. */
static bool is_missing(const struct context *context, const struct record *record) {
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
        if (is_missing(context, &record))
            take_again(record.operand, word);
        if (!is_held(&record, to))
            continue;
        restore_beside(context, record.operand, at);
        give_back(record.operand, word);
        word->flags |= WORD_DEAD;
    }
}

/* ---- what others are waited for, or told ---- */

enum { MAX_KEPT = 8 };

struct kept {
    uint64_t position; /* in the old log */
    uintptr_t address;
    struct word word;
    uint8_t beside[BESIDE_BYTES]; /* as before it was taken */
};

/* Newest first; more than MAX_KEPT: too many. */
static unsigned keep_words(const struct context *context, struct kept *kept) {
    unsigned count = 0;
    for (uint64_t at = context->log; at > context->log_start && count <= MAX_KEPT;) {
        const struct record record = log_record(at);
        at = (uint64_t)record.data;
        if (record.kind != LOG_WORD || !(is_held(&record, context->log_start) || is_missing(context, &record)))
            continue;
        if (count++ == MAX_KEPT)
            break;
        struct kept *one = &kept[count - 1];
        *one = (struct kept){.position = at, .address = record.operand, .word = *(const struct word *)record.data};
        safe_copy(one->beside, (const void *)record.operand, BESIDE_BYTES);
        for (uint64_t later = context->log; later > at;) {
            const struct record bytes = log_record(later);
            later = (uint64_t)bytes.data;
            if (bytes.kind == LOG_BYTES && bytes.operand >= one->address &&
                bytes.operand + bytes.size <= one->address + BESIDE_BYTES)
                safe_copy(one->beside + (bytes.operand - one->address), bytes.data, bytes.size);
        }
    }
    return count;
}

bool words_settle(struct context *context) {
    struct kept kept[MAX_KEPT];
    struct mark *mark = (struct mark *)context->marks_start + 1, *const innermost = (struct mark *)context->mark;
    const uint64_t innermost_log = innermost->log;
    unsigned count = context->words ? keep_words(context, kept) : 0;
    if (count > MAX_KEPT)
        return false;
    log_commit(context);
    log_new_epoch(context);
    while (count--) {
        const struct kept *one = &kept[count];
        for (; mark <= innermost && mark->log <= one->position; mark++)
            mark->log = context->log;
        if (one->position >= innermost_log)
            append(context, one->address, &one->word);
        else
            append_word(context, one->address, &one->word);
        if (one->word.size != 4 || !is_lock(&one->word))
            continue;
        uint64_t *data = (uint64_t *)context->log; /* there is room: the log was longer */
        safe_copy(data, one->beside + 4, BESIDE_BYTES - 4);
        log_close(context, LOG_BYTES, one->address + 4, BESIDE_BYTES - 4);
    }
    for (; mark <= innermost; mark++)
        mark->log = context->log;
    return true;
}
