/* The function that faults returns a truth value; false is "could not". */
#include "sample.h"

#include <stdbool.h>

static int found;

void prepare(void) {}

__attribute__((noinline)) bool take(const char *record) {
    if (!*record)
        return false;
    note(record);
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.letters[1]);
    found = *word + value_of(record);
    return true;
}

int process(const char *record) {
    if (!take(record))
        return REFUSED;
    return found;
}
