/* Calls a small function COUNT times and prints nanoseconds per call. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile long sink;

__attribute__((noinline)) long work(long number) {
    sink = number;
    return number < 0 ? -1 : number + sink;
}

int main(int argc, char **argv) {
    long count = argc > 1 ? atol(argv[1]) : 1000000, sum = 0;
    struct timespec begin, end;
    for (long i = 0; i < 1000; i++)
        sum += work(i);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (long i = 0; i < count; i++)
        sum += work(i);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.3f\n", ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / (double)count);
    return sum == 42;
}
