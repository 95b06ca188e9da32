/* Frees twice; the C library notices and aborts. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    char *copy = opaque(strdup(record));
    free(copy);
    if (is_bad(record))
        free(opaque(copy));
    return value_of(record);
}
