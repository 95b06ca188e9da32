// region: attempt
// faults: 1
// modes: pie
// options: --guard heap
// Every way to misuse a heap block is a fault at the access or the call itself, in one thread and beside others: what
// the region has allocated, freed and written is taken back, and the program goes on as if it had been refused.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAYS = 14, SIZE = 100 };

static const char *const names[WAYS] = {
    "off by one", "off by one, read", "underflow", "far overflow", "far underflow", "a string too long",
    "copied too far", "use after free, read", "use after free, written", "use after realloc", "double free",
    "invalid free", "free in the middle", "behind a realloc",
};

static char *kept;
static volatile int sink;

__attribute__((noinline)) static int misuse(int way, char *block, volatile size_t size) {
    char *moved;
    switch (way) {
    case 0:
        ((volatile char *)block)[size] = 1;
        break;
    case 1:
        sink = ((volatile char *)block)[size];
        break;
    case 2:
        ((volatile char *)block)[-1] = 1;
        break;
    case 3:
        ((volatile char *)block)[size + 4000] = 1;
        break;
    case 4:
        ((volatile char *)block)[-4090] = 1;
        break;
    case 5:
        for (size_t i = 0; i < size + 20; i++)
            block[i] = 'x';
        block[size + 20] = 0;
        break;
    case 6:
        memset(block, 'y', size + 64);
        break;
    case 7:
        free(block);
        sink = ((volatile char *)block)[5];
        break;
    case 8:
        free(block);
        ((volatile char *)block)[5] = 9;
        break;
    case 9:
        moved = realloc(block, 3 * size);
        moved[0] = 7;
        sink = ((volatile char *)block)[0];
        break;
    case 10:
        free(block);
        free(block);
        break;
    case 11:
        free(block + 3);
        break;
    case 12:
        free(block + 16);
        break;
    case 13:
        moved = realloc(block, 2 * size);
        ((volatile char *)moved)[2 * size] = 1;
        break;
    }
    return 0;
}

__attribute__((noinline)) int attempt(int way, char *block) {
    char *own = malloc(SIZE), *other = calloc(7, 11);
    block[0] = 'z'; /* undone */
    own[1] = other[2] = 1;
#if ORACLE
    free(own);
    free(other);
    block[0] = 'k';
    return -1;
#endif
    misuse(way, way & 1 ? own : block, SIZE);
    misuse(way, block, SIZE);
    free(own);
    free(other);
    return 0;
}

static int round_of(int way) {
    char *block = malloc(SIZE);
    memset(block, 'k', SIZE);
    const int result = attempt(way, block);
    for (int i = 0; i < SIZE; i++)
        if (block[i] != 'k')
            return 100 + i;
    block = realloc(block, 4 * SIZE);
    if (block[SIZE - 1] != 'k')
        return 300;
    free(block);
    return result;
}

static void *thread(void *unused) {
    for (int way = 0; way < WAYS; way++)
        for (int i = 0; i < 5; i++)
            if (round_of(way) != -1)
                return (void *)(intptr_t)(way + 1);
    return NULL;
}

int main(void) {
    alarm(50);
    for (int way = 0; way < WAYS; way++)
        printf("%s: %d\n", names[way], round_of(way));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, thread, NULL);
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        printf("thread: %d\n", (int)(intptr_t)wrong);
    }
    return 0;
}
