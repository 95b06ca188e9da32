/* Overruns an array on the stack: the return address becomes a possible one where nothing is mapped.  The return
 * succeeds and the fault comes with nothing left on the stack; only what lies below it tells where from. */
#include "sample.h"

void prepare(void) {}

__attribute__((noinline)) static void fill(char *to, size_t length) {
    const uint64_t word = 0x0000123456789abc;
    for (size_t i = 0; i + 8 <= length; i += 8)
        memcpy(to + i, &word, 8);
}

int process(const char *record) {
    char name[32];
    if (!*record)
        return REFUSED;
    note(record);
    fill(opaque(name), is_bad(record) ? 160 : sizeof name);
    return value_of(record) + *(char *)opaque(name + 5);
}
