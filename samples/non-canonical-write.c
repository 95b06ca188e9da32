/* Writes at an address that no x86-64 page can have. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    volatile uint32_t *word = opaque(is_bad(record) ? (void *)0x4141414141414141 : (void *)state.letters);
    *word += 5;
    return value_of(record);
}
