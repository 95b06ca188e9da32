/* Fails an assertion. */
#include "sample.h"

#undef NDEBUG
#include <assert.h>

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    assert(!is_bad(record));
    return value_of(record);
}
