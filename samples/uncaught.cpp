// Throws an exception that nobody catches.
#include "sample.h"

#include <stdexcept>

extern "C" void prepare() {}

extern "C" int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    if (is_bad(record))
        throw std::runtime_error(record);
    return value_of(record);
}
