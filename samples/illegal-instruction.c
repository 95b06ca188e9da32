/* Reaches what the compiler took for unreachable: ud2. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    if (is_bad(record))
        __builtin_trap();
    return value_of(record);
}
