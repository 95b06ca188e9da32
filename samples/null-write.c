/* Writes through a null pointer. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    struct item *item = opaque(is_bad(record) ? NULL : state.items);
    ((volatile struct item *)item)->text[23] = 7;
    return value_of(record);
}
