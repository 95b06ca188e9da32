/* Runs into an int3. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    if (is_bad(record))
        __asm__ volatile("int3");
    return value_of(record);
}
