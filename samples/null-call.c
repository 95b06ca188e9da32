/* Calls a null function pointer. */
#include "sample.h"

static int letters_in(const char *record) {
    return (int)strlen(record);
}

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    int (*rate)(const char *) = (int (*)(const char *))opaque(is_bad(record) ? NULL : (void *)(uintptr_t)letters_in);
    int length = rate(record);
    return value_of(record) + length;
}
