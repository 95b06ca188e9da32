/* Changes counters by locked instructions before the fault. */
#include "sample.h"

static struct {
    uint64_t added, swapped, bits;
    uint32_t small;
    uint8_t byte;
    unsigned __int128 wide __attribute__((aligned(16)));
} counters;

void prepare(void) {
    state.extra = &counters;
    state.extra_length = sizeof counters;
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    uint64_t old = __atomic_fetch_add(&counters.added, 5, __ATOMIC_SEQ_CST);
    uint64_t swap = __atomic_exchange_n(&counters.swapped, old + 1, __ATOMIC_SEQ_CST);
    __atomic_or_fetch(&counters.bits, 1ull << (old % 64), __ATOMIC_SEQ_CST);
    __atomic_xor_fetch(&counters.byte, (uint8_t)record[0], __ATOMIC_SEQ_CST);
    uint32_t expected = counters.small;
    __atomic_compare_exchange_n(&counters.small, &expected, expected + 9, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    uint64_t low = (uint64_t)counters.wide, high = (uint64_t)(counters.wide >> 64);
    __asm__ volatile("lock cmpxchg16b %0"
                     : "+m"(counters.wide), "+a"(low), "+d"(high)
                     : "b"(low + 3), "c"(high + 4)
                     : "cc", "memory");
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    return value_of(record) + (*word & 1) + (int)swap;
}
