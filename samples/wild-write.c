/* Writes at an address where nothing is mapped. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    volatile uint32_t *word = opaque(is_bad(record) ? (void *)0x123456789000 : (void *)state.letters);
    *word += 5;
    return value_of(record);
}
