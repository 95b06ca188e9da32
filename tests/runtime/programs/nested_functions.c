// region: region
// degrades: UNKNOWN_CODE
// flags: -Wl,-z,execstack
// Functions within functions whose address is taken: gcc writes code to the stack and calls that.
#include <stdio.h>
#include <stdlib.h>
__attribute__((noipa)) static long call(long (*function)(long), long n) { return function(n) + function(n + 1); }
__attribute__((noipa)) long region(long n) {
    long seen = 0;
    long nested(long i) {
        seen += i * n;
        return seen;
    }
    int compare(const void *a, const void *b) {
        seen++;
        return (*(const int *)a - *(const int *)b) * (n & 1 ? 1 : -1);
    }
    int numbers[] = {4, 2, 5, 1, 3};
    qsort(numbers, 5, sizeof *numbers, compare);
    return call(nested, n) * 10 + numbers[0] + (n ? region(n - 1) : 0);
}
int main(void) {
    for (long n = 0; n < 8; n++)
        printf("%ld ", region(n));
    puts("");
    fflush(stdout);
    getchar();
    return 0;
}
