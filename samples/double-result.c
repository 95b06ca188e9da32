/* The function that faults returns a double; whatever comes back must not upset the caller. */
#include "sample.h"

void prepare(void) {}

__attribute__((noinline)) double weigh(const char *record) {
    if (!*record)
        return -1;
    note(record);
    const volatile double *scale = opaque(is_bad(record) ? NULL : &state.letters[1]);
    return *scale * 0 + value_of(record) + 0.5;
}

int process(const char *record) {
    double weight = weigh(record);
    return weight > 0 ? (int)weight : REFUSED;
}
