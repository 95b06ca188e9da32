// region: region
// faults: 1
// What was written before must be logged again in each call, whatever number the first-write filter calls them by.
// test_simulated.py lets these numbers run out while this program waits.
#include <stdio.h>
#include <stdlib.h>
static volatile int zero;
static long kept[8][64];
__attribute__((noipa)) long region(long n, int fails) {
    for (int i = 0; i < 8; i++)
        kept[i][n & 63] += n + i;
    return fails ? 100 / zero : n;
}
static long fold(void) {
    long sum = 0;
    for (int i = 0; i < 8 * 64; i++)
        sum = sum * 31 + kept[i / 64][i % 64];
    return sum;
}
int main(void) {
    for (int phase = 0; phase < 3; phase++) {
        long sum = 0;
        for (long n = 0; n < 60; n++)
            sum += region(n, 0);
        for (long n = 0; phase && n < 200; n++)
            sum += ORACLE ? -1 : region(n, 1);
        printf("%ld %lx\n", sum, fold());
        fflush(stdout);
        getchar();
    }
    return 0;
}
