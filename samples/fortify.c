/* Copies too much into a buffer whose size the compiler knows; the checking memcpy notices: __chk_fail. */
#include "sample.h"

static char names[32];

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    memcpy(names, opaque(state.log), (size_t)opaque_number(is_bad(record) ? 33 : 16));
    return value_of(record) + ((char *)opaque(names))[0];
}
