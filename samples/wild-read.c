/* Reads at an address where nothing is mapped. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    const volatile uint32_t *word = opaque(is_bad(record) ? (void *)0x123456789000 : (void *)state.letters);
    int low = (int)(*word & 0xff);
    return value_of(record) + low;
}
