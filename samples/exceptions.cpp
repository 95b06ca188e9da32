// Throws and catches, through several frames with destructors, then faults.
#include "sample.h"

#include <stdexcept>
#include <string>

namespace {
int alive, caught;

struct Guard {
    Guard() { alive++; }
    ~Guard() { alive--; }
};

__attribute__((noinline)) int dig(const std::string &text, int depth) {
    Guard guard;
    if (depth == 0)
        throw std::out_of_range(text + " is too deep");
    return dig(text + "/", depth - 1) + 1;
}
}  // namespace

extern "C" void prepare() {
    state.extra = &caught;
    state.extra_length = sizeof caught;
}

extern "C" int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    int length = 0;
    for (int depth = 1; depth < 6; depth++) {
        try {
            try {
                dig(record, depth);
            } catch (const std::invalid_argument &) {
                return REFUSED;
            }
        } catch (const std::exception &error) {
            length += static_cast<int>(strlen(error.what()));
            caught++;
        }
    }
    const volatile int *word = static_cast<const volatile int *>(opaque(is_bad(record) ? nullptr : &state.last));
    return value_of(record) + (*word & 1) + length + alive + caught;
}
