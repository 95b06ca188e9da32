/* Divides by zero. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    int quotient = (int)opaque_number(1000) / (int)opaque_number(is_bad(record) ? 0 : (long)strlen(record));
    return value_of(record) + quotient;
}
