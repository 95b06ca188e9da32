// region: region
// faults: 1
// What was written before must be logged again in each call, whatever number the first-write filter calls them by.
// test_simulated.py lets these numbers run out while this program waits.
#include <stdio.h>
#include <stdlib.h>
static volatile int zero;
enum { WAYS = 12, CALLS = 128, GRANULE = 64 };
static long kept[WAYS][CALLS][GRANULE];
/* Without a fault, call n writes its own places; with one, which takes two numbers, those of calls near 2 n. */
__attribute__((noipa)) long region(long n, int fails) {
    for (int way = 0; way < WAYS; way++)
        kept[way][fails ? (2 * n + way) % CALLS : n][0] += n + 1;
    return fails ? 100 / zero : n;
}
static long fold(void) {
    long sum = 0;
    for (int i = 0; i < WAYS * CALLS; i++)
        sum = sum * 31 + kept[i / CALLS][i % CALLS][0];
    return sum;
}
int main(void) {
    for (int phase = 0; phase < 3; phase++) {
        long sum = 0;
        for (long n = 0; n < CALLS && !phase; n++)
            sum += region(n, 0);
        for (long n = 0; phase && n < 55; n++)
            sum += ORACLE ? -1 : region(n, 1);
        printf("%ld %lx\n", sum, fold());
        fflush(stdout);
        getchar();
    }
    return 0;
}
