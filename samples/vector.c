/* Works with SSE, AVX (where the processor has it) and x87 before the fault. */
#include "sample.h"

static float numbers[64];
static double powers[32];

void prepare(void) {
    for (int i = 0; i < 64; i++)
        numbers[i] = (float)i;
    state.extra = numbers;
    state.extra_length = sizeof numbers;
}

#if defined(__GNUC__)
__attribute__((target("avx2,fma"), noinline)) static void scale_avx(float by) {
    for (int i = 0; i < 64; i++)
        numbers[i] = numbers[i] * by + 0.5f;
    for (int i = 0; i < 32; i++)
        powers[i] = powers[i] * 0.25 + numbers[i * 2];
}
#endif

__attribute__((noinline)) static void scale(float by) {
    for (int i = 0; i < 64; i++)
        numbers[i] = numbers[63 - i] * by + 0.25f;
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    float by = (float)(record[0] % 7) / 8;
    scale(by);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        scale_avx(by);
    long double long_sum = 0;
    for (int i = 0; i < 32; i++)
        long_sum += (long double)powers[i] / 3;
    volatile float *number = opaque(is_bad(record) ? NULL : numbers);
    number[5] += 1;
    return value_of(record) + (int)((long)numbers[5] % 100) + (int)((long)long_sum % 10);
}
