/* Gives up by abort(). */
#include "sample.h"

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    if (is_bad(record))
        abort();
    return value_of(record);
}
