/* Writes thread-local variables before the fault. */
#include "sample.h"

static __thread struct {
    long count;
    char text[40];
} mine;

void prepare(void) {
    state.extra = &mine; /* of the thread that prepares */
    state.extra_length = sizeof mine;
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    mine.count += 3;
    strncpy(mine.text, record, sizeof mine.text - 1);
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    return value_of(record) + (*word & 1) + (int)mine.count;
}
