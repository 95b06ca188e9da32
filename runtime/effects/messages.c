/* __libc_message writes the pieces of its text with one writev, from where they lie in the C library, and aborts.  That
 * is how __stack_chk_fail, __chk_fail and the checks of the heap end, in static programs without symbols too. */
#include "effects/messages.h"

#include "arch/x86_64/emit.h"
#include "region/log.h"
#include "region/runtime.h"

enum { LONGEST_TEXT = 40, LIBRARY_SPAN = 64 << 20 };

struct text {
    char begins[LONGEST_TEXT];
    uint8_t fault_class; /* FAULT_ABORT: glibc does not know it exactly either */
    uint8_t piece;       /* in which it stands */
};

static const struct text texts[] = {
    {"stack smashing detected", FAULT_STACK_SMASH, 1},
    {"buffer overflow detected", FAULT_OUT_OF_BOUNDS, 1},
    {"free(): double free detected", FAULT_DOUBLE_FREE, 0},
    {"double free or corruption (fasttop)", FAULT_DOUBLE_FREE, 0},
    {"double free or corruption", FAULT_ABORT, 0},
    {"free(): invalid pointer", FAULT_INVALID_FREE, 0},
    {"munmap_chunk(): invalid pointer", FAULT_INVALID_FREE, 0},
    {"realloc(): invalid pointer", FAULT_INVALID_FREE, 0},
    {"free(): invalid next size", FAULT_HEAP_OVERFLOW, 0},
    {"free(): invalid size", FAULT_HEAP_OVERFLOW, 0},
    {"realloc(): invalid next size", FAULT_HEAP_OVERFLOW, 0},
    {"realloc(): invalid old size", FAULT_HEAP_OVERFLOW, 0},
    {"malloc(): corrupted top size", FAULT_HEAP_OVERFLOW, 0},
    {"malloc(): invalid size", FAULT_HEAP_OVERFLOW, 0},
    {"malloc(): invalid next size", FAULT_HEAP_OVERFLOW, 0},
    {"malloc(): mismatching next->prev_size", FAULT_HEAP_OVERFLOW, 0},
    {"corrupted size vs. prev_size", FAULT_HEAP_OVERFLOW, 0},
    {"corrupted double-linked list", FAULT_ABORT, 0},
    {"free(): ", FAULT_ABORT, 0},
    {"malloc(): ", FAULT_ABORT, 0},
    {"malloc_consolidate(): ", FAULT_ABORT, 0},
};

struct piece {
    uint64_t start, size;
};

/* Whether `at` lies in the module whose code makes the system call. */
static bool is_in_library(const struct context *context, uint64_t at) {
    const struct range *code = range_known(context->target - 1);
    return code && code->flags & RANGE_FILE && at - code->base < LIBRARY_SPAN;
}

static bool begins_with(const struct piece *piece, const char *text) {
    char found[LONGEST_TEXT];
    const size_t size = piece->size < sizeof found ? piece->size : sizeof found;
    const size_t there = safe_copy(found, (const void *)piece->start, size);
    size_t i = 0;
    while (i < there && text[i] && found[i] == text[i])
        i++;
    return !text[i];
}

enum fault_class last_message(const struct context *context) {
    const uint64_t *general = context->registers.general;
    struct piece pieces[2];
    if (general[RDX] < 2 || safe_copy(pieces, (const void *)general[RSI], sizeof pieces) < sizeof pieces)
        return FAULT_NONE;
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct piece *piece = &pieces[texts[i].piece];
        if (is_in_library(context, piece->start) && begins_with(piece, texts[i].begins) &&
            (!texts[i].piece || begins_with(&pieces[0], "*** ")))
            return (enum fault_class)texts[i].fault_class;
    }
    return FAULT_NONE;
}
