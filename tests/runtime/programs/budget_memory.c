// A region that takes memory without end is left before the call that would be too much, and has nothing of it then;
// one that gives back what it takes goes on.
// regions: small_blocks large_blocks growing mapped heap_end gives_back
// budget: 64MiB
// faults: 1
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST = 256 << 20 };
static volatile long taken;
#define REGION __attribute__((noipa))

REGION long gives_back(long rounds) {
    long sum = 0;
    for (long i = 0; i < rounds; i++) {
        char *block = malloc(8 << 20), *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        block[i] = page[i] = 1;
        sum += block[i] + page[i];
        free(block);
        munmap(page, 1 << 20);
    }
    return sum;
}

#if ORACLE
#define ENDLESS(name, ...) REGION long name(void) { return -1; }
#else
#define ENDLESS(name, ...)                                                                                            \
    REGION long name(void) {                                                                                           \
        long total = 0;                                                                                                \
        while (total < MOST) {                                                                                         \
            __VA_ARGS__                                                                                                \
            taken++;                                                                                                   \
        }                                                                                                              \
        abort();                                                                                                       \
    }
#endif

ENDLESS(small_blocks, char *block = malloc(4000); block[0] = 1; total += 4000;)
ENDLESS(large_blocks, volatile char *block = malloc(10 << 20); block[0] = 1; total += 10 << 20;)
ENDLESS(growing, static char *all; all = realloc(all, total += 3 << 20); all[0] = 1;)
ENDLESS(mapped, mmap(NULL, 5 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); total += 5 << 20;)
ENDLESS(heap_end, sbrk(1 << 20); total += 1 << 20;)

static long mappings(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;
    fscanf(file, "%ld", &pages);
    fclose(file);
    return pages * 4096 >> 20;
}

int main(void) {
    alarm(60);
    printf("%ld\n", gives_back(100));
    const long before = mappings();
    long (*const all[])(void) = {small_blocks, large_blocks, growing, mapped, heap_end};
    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
            printf("%u: %ld\n", i, all[i]());
    const int returned = mappings() - before < 40;
    printf("%ld %s\n", taken, returned ? "nothing was kept" : "memory was kept");
    return 0;
}
