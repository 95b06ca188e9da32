// Memory that a region has got itself is given back with it: nothing of it is logged, and a small log does for much.
// regions: region inner
// faults: 1
// carried: 1
// rescues: inner=3 region=2
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MEGABYTE = 1 << 20 };
static volatile int *nowhere;
static char *got, *shared;
static long kept[512];
#define REGION __attribute__((noipa))

static void fill(char *block, size_t size, int value) {
    for (size_t i = 0; i < size; i += 64)
        block[i] = (char)(value + i / 4096);
}

static long sum(const char *block, size_t size) {
    long sum = 0;
    for (size_t i = 0; i < size; i += 64)
        sum += block[i];
    return sum;
}

#if ORACLE
REGION long inner(int n, char *block) { return -1; }
#else
REGION long inner(int n, char *block) { // what the region around it has got is old to this one
    fill(block, MEGABYTE, n);
    memset(block + MEGABYTE, n, 4096);
    shared[0]++;
    return *nowhere;
}
#endif

REGION long region(int n) {
    long total = 0;
    kept[n]++;
    for (int i = 0; i < 40; i++) { // the heap, by brk and by mmap
        char *piece = malloc(i % 2 ? 300000 : 100000);
        memset(piece, i, 100000);
        total += sum(piece, 100000);
        if (i % 3)
            free(piece);
    }
    got = mmap(NULL, 40 * MEGABYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill(got, 40 * MEGABYTE, n);
    memset(got, n, 39 * MEGABYTE);
    fill(got, 2 * MEGABYTE, 7);
    const long before = sum(got, 2 * MEGABYTE);
    total += inner(n, got) + (sum(got, 2 * MEGABYTE) == before);
    got = mremap(got, 40 * MEGABYTE, 60 * MEGABYTE, MREMAP_MAYMOVE);
    fill(got, 60 * MEGABYTE, n);
    total += sum(got, 60 * MEGABYTE);
    munmap(got + 50 * MEGABYTE, 10 * MEGABYTE);
    shared[1]++;
    if (n > 0)
#if ORACLE
        kept[n]--, shared[1]--, total = 0;
#else
        return *nowhere;
#endif
    return n > 0 ? -1 : total;
}

int main(void) {
    struct rlimit limit = {400ul << 20, 400ul << 20}; // leaves room for a log of 64 MiB at most
    setrlimit(RLIMIT_AS, &limit);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    alarm(60);
    const long first = region(0), second = region(1), third = region(2);
    printf("%ld %ld %ld, kept %ld %ld %ld, shared %d %d\n", first, second, third, kept[0], kept[1], kept[2], shared[0], shared[1]);
    fflush(stdout);
    getchar();
    return 0;
}
