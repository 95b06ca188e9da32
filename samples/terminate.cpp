// Ends by std::terminate.
#include "sample.h"

#include <exception>

extern "C" void prepare() {}

extern "C" int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    if (is_bad(record))
        std::terminate();
    return value_of(record);
}
