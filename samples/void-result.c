/* The function that faults returns nothing; the caller finds that nothing was taken. */
#include "sample.h"

static int found;

void prepare(void) {}

__attribute__((noinline)) void take(const char *record) {
    note(record);
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.letters[1]);
    found = *word + value_of(record);
}

int process(const char *record) {
    uint64_t before = state.accepted;
    if (!*record)
        return REFUSED;
    take(record);
    if (state.accepted == before)
        return REFUSED;
    return found;
}
