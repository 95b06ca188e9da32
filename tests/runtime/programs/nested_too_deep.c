// region: deep
// faults: 1
// flags: -O1
// More nested entries than there is room for checkpoints: no further ones are made, everything runs on, and a fault there
// returns to the last that was made.
#include <stdio.h>
#include <sys/resource.h>
static volatile int zero;
static long writes, returned;
enum { LEVELS = 140000, CHECKPOINTS = 131072 };
__attribute__((noipa)) long deep(long n, int fails) {
    writes++;
    if (n == 0)
        return fails ? 100 / zero : 0;
    long below = deep(n - 1, fails);
    returned += below < 0;
    return below + 1;
}
int main(void) {
    for (int i = 0; i < 2; i++) {
        writes = 0;
        printf("%ld ", deep(LEVELS, 0));
        printf("%ld ", writes);
        long kept = writes, result = ORACLE ? 0 : deep(LEVELS, 1);
        /* At least as many levels as there is room for went on with an error, and what the deeper ones did is undone. */
        printf("%d %d\n", ORACLE || (result > CHECKPOINTS - 1000 && result < LEVELS), ORACLE || writes - kept <= CHECKPOINTS);
    }
    return 0;
}
