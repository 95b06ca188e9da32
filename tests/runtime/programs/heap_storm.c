// region: region
// faults: 1
// modes: pie
// Four threads allocate, resize and free, and fault at any point of it; blocks move between the threads.  The heap stays
// sound, blocks keep their contents, and nothing is lost or handed out twice.
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { THREADS = 4, ROUNDS = 300, SLOTS = 24, STEPS = 6 };
static volatile int zero;
struct block {
    size_t size;
    uint8_t *bytes;
};
static struct block slots[THREADS][SLOTS];
static volatile long damage;
static unsigned next(unsigned *seed) {
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16;
}
static void check(const struct block *block, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (block->bytes[i] != (uint8_t)(block->size * 31 + i))
            __atomic_add_fetch(&damage, 1, __ATOMIC_RELAXED);
}
static void fill(struct block *block) {
    for (size_t i = 0; i < block->size; i++)
        block->bytes[i] = (uint8_t)(block->size * 31 + i);
}
static void step(struct block *block, unsigned what, size_t size) {
    const size_t before = block->size;
    check(block, before);
    if (what % 4 == 3 && block->bytes) {
        block->bytes = realloc(block->bytes, size);
        check(block, before < size ? before : size);
    } else {
        free(block->bytes);
        if (what % 4 == 0)
            block->bytes = malloc(size);
        else if (what % 4 == 1)
            block->bytes = calloc(1, size);
        else if (posix_memalign((void **)&block->bytes, 64, size) || (uintptr_t)block->bytes % 64)
            abort();
        for (size_t i = 0; what % 4 == 1 && i < size; i++)
            damage += block->bytes[i] != 0;
    }
    block->size = size;
    fill(block);
}
__attribute__((noipa)) int region(int id, unsigned seed, int bad) {
    const unsigned steps = bad ? next(&seed) % STEPS : STEPS;
    for (unsigned i = 0; i < steps; i++) {
        const unsigned what = next(&seed), large = next(&seed) % 40 == 0;
        step(&slots[id][next(&seed) % SLOTS], what, 1 + next(&seed) % (large ? 20000 : 200));
    }
    return bad ? bad / zero : 1;
}
static void *thread(void *argument) {
    const int id = (int)(long)argument;
    long refused = 0;
    for (int round = 1; round <= ROUNDS; round++) {
        const int bad = round % 3 != 0;
        refused += ORACLE && bad ? 1 : region(id, (unsigned)(id * ROUNDS + round), bad) < 0;
    }
    return (void *)refused;
}
int main(void) {
    alarm(20);
    mallopt(M_PERTURB, 0xa5);
    for (int pass = 0; pass < 2; pass++) { /* the other threads get each one's blocks, and its arena */
        pthread_t threads[THREADS];
        for (long id = 0; id < THREADS; id++)
            pthread_create(&threads[id], NULL, thread, (void *)((id + pass) % THREADS));
        for (int id = 0; id < THREADS; id++) {
            void *refused;
            pthread_join(threads[id], &refused);
            printf("%ld refused\n", (long)refused);
        }
    }
    size_t held = 0;
    for (int id = 0; id < THREADS; id++)
        for (int i = 0; i < SLOTS; i++) {
            check(&slots[id][i], slots[id][i].size);
            held += slots[id][i].size;
            printf("%zu%c", slots[id][i].size, i + 1 < SLOTS ? ' ' : '\n');
            free(slots[id][i].bytes);
        }
    const size_t left = mallinfo2().uordblks;
    printf("damage %ld, held %zu, lost %s\n", damage, held, left < 60000 ? "nothing" : "some");
    return 0;
}
