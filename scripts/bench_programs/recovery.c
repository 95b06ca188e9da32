/* recovery COUNT [ENTRIES]: calls a function that stores to ENTRIES places, each of which becomes an entry of the undo log,
 * and then faults, COUNT times, in turn with calls that do not fault.  Prints the median of the nanoseconds per call that
 * the fault adds: from fault to return, less a commit.  Without arguments it faults once, for the report. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { GRANULE = 512, MOST = 4096 };
static volatile char memory[MOST * GRANULE] __attribute__((aligned(4096)));

__attribute__((noinline)) int work(const volatile int *where, long number, long entries) {
    for (long i = 0; i < entries; i++)
        memory[i * GRANULE] = (char)number;
    if (number < 0)
        return -1;
    return *where;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, long count) {
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}

int main(int argc, char **argv) {
    const long count = argc > 1 ? atol(argv[1]) : 1, entries = argc > 2 ? atol(argv[2]) : 10;
    const int *volatile nothing = NULL, *volatile something = &(const int){0};
    double *faulting = calloc((size_t)count, sizeof *faulting), *good = calloc((size_t)count, sizeof *good);
    long failed = 0;
    if (entries > MOST)
        return 2;
    for (long i = 0; i < count; i++) {
        const double begin = now();
        const int result = work(nothing, i + 1, entries);
        const double between = now();
        work(something, 0, entries);
        good[i] = now() - between;
        faulting[i] = between - begin;
        failed += result < 0;
    }
    printf("%.3f\n", median(faulting, count) - median(good, count));
    return failed != count;
}
