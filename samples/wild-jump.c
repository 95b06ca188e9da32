/* Calls into data, which is not executable. */
#include "sample.h"

static int letters_in(const char *record) {
    return (int)strlen(record);
}

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    int (*rate)(const char *) =
        (int (*)(const char *))opaque(is_bad(record) ? (void *)state.letters : (void *)(uintptr_t)letters_in);
    int length = rate(record);
    return value_of(record) + length;
}
