/* Reads at an address that no x86-64 page can have: the processor raises #GP, without an address. */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    const volatile uint32_t *word = opaque(is_bad(record) ? (void *)0x4141414141414141 : (void *)state.letters);
    int low = (int)(*word & 0xff);
    return value_of(record) + low;
}
