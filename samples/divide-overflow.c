/* Divides the smallest number by -1: the quotient does not fit. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    long smallest = opaque_number(is_bad(record) ? INT64_MIN : 1000);
    long quotient = smallest / opaque_number(-1);
    return value_of(record) + (int)-quotient;
}
