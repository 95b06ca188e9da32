/* Reads through a null pointer, at a small offset. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    const struct item *item = opaque(is_bad(record) ? NULL : state.items);
    int first = ((const volatile struct item *)item)->text[0];
    return value_of(record) + first;
}
