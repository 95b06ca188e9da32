/* Overruns an array on the stack; the compiler's stack protector notices: __stack_chk_fail. */
#include "sample.h"

void prepare(void) {}

__attribute__((noinline)) static void fill(char *to, size_t length) {
    for (size_t i = 0; i < length; i++)
        to[i] = 'A';
}

int process(const char *record) {
    char name[32];
    if (!*record)
        return REFUSED;
    note(record);
    fill(opaque(name), is_bad(record) ? 48 : sizeof name);
    return value_of(record) + *(char *)opaque(name + 5);
}
