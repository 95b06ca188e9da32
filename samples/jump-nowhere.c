/* Calls an address where nothing is mapped. */
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
        (int (*)(const char *))opaque(is_bad(record) ? (void *)0x123456789000 : (void *)(uintptr_t)letters_in);
    int length = rate(record);
    return value_of(record) + length;
}
