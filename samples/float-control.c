/* Changes rounding (SSE and x87), leaves values on the x87 stack and the direction flag set, then faults: afterwards
 * arithmetic and string instructions must work as before. */
#include "sample.h"

#include <fenv.h>

void prepare(void) {}

static int mantissa(void) {
    volatile double one = 1, three = 3;
    volatile long double long_one = 1, long_three = 3;
    double third = one / three;
    long double long_third = long_one / long_three;
    uint64_t bits, long_bits;
    memcpy(&bits, &third, sizeof bits);
    memcpy(&long_bits, &long_third, sizeof long_bits);
    return (int)(bits & 0xfff) + (int)(long_bits & 0xfff);
}

int process(const char *record) {
    char from[64], to[64];
    if (!*record)
        return REFUSED;
    int low = mantissa();
    memset(from, record[0], sizeof from);
    void *source = from, *target = to;
    size_t count = sizeof to;
    __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(count) : : "memory");
    note(record);
    fesetround(FE_UPWARD);
    low += mantissa();
    if (is_bad(record)) {
        const int *nothing = opaque(NULL);
        __asm__ volatile("fldpi\n\tfldpi\n\tfldpi\n\tstd\n\tmovl (%0), %%eax" : : "r"(nothing) : "eax", "memory");
    }
    fesetround(FE_TONEAREST);
    return value_of(record) + low + to[63];
}
