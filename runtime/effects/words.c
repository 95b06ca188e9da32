/* Operations on words as the log has them: chains of values, and what a release publishes. */
#include "arch/x86_64/emit.h"
#include "effects/word.h"

enum { PROBES = 8 };

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

static bool is_release(const struct change *change) {
    const struct word word = begin(change);
    return change->how & (WORD_COMPARED | WORD_EXCHANGED) && is_zero(change->now) && !is_zero(change->old) &&
           (!is_permit(&word) || change->size == 1);
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

bool word_append_closed(struct context *context, uintptr_t address, const struct word *word) {
    context->words |= word_bit(address);
    return log_operation(context, LOG_WORD, address, (const uint64_t *)word, sizeof *word / sizeof(uint64_t));
}

bool word_append(struct context *context, uintptr_t address, const struct word *word) {
    struct word_slot *slot = slot_of(context, address, true);
    if (!slot)
        return false;
    slot->address = address;
    slot->epoch = context->epoch;
    slot->position = context->log;
    return word_append_closed(context, address, word);
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
        word_append(context, change->address, &fresh);
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
