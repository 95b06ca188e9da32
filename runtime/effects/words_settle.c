/* Committing in the middle of a region: the locks that it holds stay its own to release. */
#include "effects/word.h"

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
        if (record.kind != LOG_WORD ||
            !(word_is_held(&record, context->log_start) || word_is_missing(context, &record)))
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
            word_append(context, one->address, &one->word);
        else
            word_append_closed(context, one->address, &one->word);
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
