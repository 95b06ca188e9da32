// As budget_memory.c, beside another thread: there the allocator runs natively.
// regions: blocks cleared growing placed gives_back
// budget: 32MiB
// faults: 1
// modes: pie
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 256 << 20 };
static volatile long taken;
#define REGION __attribute__((noipa))

REGION long gives_back(long rounds) {
    long sum = 0;
    for (long i = 0; i < rounds; i++) {
        char *block = malloc(1 << 20), *other = calloc(1 << 10, 1 << 9);
        block = realloc(block, 2 << 20);
        block[i] = 1;
        sum += block[i] + other[i];
        free(block);
        free(other);
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

ENDLESS(blocks, volatile char *block = malloc(100000); block[0] = 1; total += 100000;)
ENDLESS(cleared, volatile char *block = calloc(1000, 1000); block[0] = 1; total += 1000000;)
ENDLESS(growing, static char *all; all = realloc(all, total += 3 << 20); all[0] = 1;)
ENDLESS(placed, void *place; posix_memalign(&place, 4096, 1 << 20); total += 1 << 20;)

static pthread_barrier_t barrier;
static void *idle(void *unused) {
    pthread_barrier_wait(&barrier);
    return unused;
}

int main(void) {
    alarm(60);
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, idle, NULL);
    printf("%ld\n", gives_back(20)); // what waits for the commit counts as given back
    long (*const all[])(void) = {blocks, cleared, growing, placed};
    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
            printf("%u: %ld\n", i, all[i]());
    printf("%ld\n", taken);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    return 0;
}
