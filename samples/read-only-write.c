/* Writes to a constant. */
#include "sample.h"

static const char constant[] = "this page cannot be written";

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    volatile char *text = opaque(is_bad(record) ? (const void *)constant : (void *)state.log);
    text[2] ^= 1;
    return value_of(record);
}
