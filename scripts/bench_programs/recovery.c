/* Calls a function that stores ten words and then faults, COUNT times, and prints nanoseconds per call; without an
 * argument it faults once, for the report. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile long words[10];

__attribute__((noinline)) int work(const volatile int *where, long number) {
    for (int i = 0; i < 10; i++)
        words[i] = number;
    if (number < 0)
        return -1;
    return *where;
}

int main(int argc, char **argv) {
    long count = argc > 1 ? atol(argv[1]) : 1, failed = 0;
    const int *volatile nothing = NULL;
    struct timespec begin, end;
    for (long i = 0; i < count / 100; i++)
        work(nothing, i);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (long i = 0; i < count; i++)
        if (work(nothing, i + 1) < 0 && words[3] == 0)
            failed++;
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.3f\n", ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / (double)count);
    return failed != count;
}
