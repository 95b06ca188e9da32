// region: region
// carried: 1
// What test_simulated.py runs on machines that are made up: without FSGSBASE, and with a shadow stack.
#include <stdio.h>
static long total;
__attribute__((noipa)) long region(long n) {
    total += n;
    return total % 7;
}
int main(void) {
    long sum = 0;
    for (long n = 0; n < 1000; n++)
        sum += region(n);
    printf("%ld %ld\n", sum, total);
    fflush(stdout);
    getchar();
    return 0;
}
