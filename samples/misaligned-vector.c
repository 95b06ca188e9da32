/* Loads 16 bytes with an instruction that insists on alignment, from an odd address: #GP, seen as SIGSEGV. */
#include "sample.h"

static uint8_t numbers[48] __attribute__((aligned(16)));

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    numbers[0] = 3;
    const uint8_t *from = opaque(numbers + (is_bad(record) ? 1 : 0));
    int low;
    __asm__ volatile("movaps (%1), %%xmm3\n\tmovd %%xmm3, %0" : "=r"(low) : "r"(from) : "xmm3", "memory");
    return value_of(record) + low;
}
