/* Faults in the part of the function that the compiler moved away because it is hardly ever run. */
#include "sample.h"

#include <stdio.h>

static int complaints;

__attribute__((cold, noinline)) static void complain(const char *record) {
    fprintf(stderr, "cannot take %s\n", record);
    complaints++;
}

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    if (__builtin_expect(is_bad(record), 0)) {
        complain(record);
        const volatile int *nothing = opaque(NULL);
        complain(*nothing ? "one" : "none");
        return complaints;
    }
    return value_of(record) + complaints;
}
