// region: region
// faults: 1
// options: --strategy retry
// modes: pie
// After a fault the region runs once more in an altered environment: what it allocates is zero and has room behind it, what
// it frees stays as it was until its end, and a second free does no harm.  Natively the program asks for such memory
// itself.  Arguments in registers of every kind are what they were, and what the first run did is undone.
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static volatile int runs, faulted;
static volatile int *volatile nowhere;
static char *make(size_t size) { return ORACLE ? calloc(1, size + 127 & -64) : malloc(size); }
static void give(char *block) {
    if (!ORACLE)
        free(block);
}
static long use(int way, volatile char *block) {
    long sum = 0;
    switch (way) {
    case 0: /* used uninitialised: a pointer in it is followed */
        if (!ORACLE || !block[8])
            sum = *(char *volatile *)(block + 8) ? **(char *volatile *)(block + 8) : 5;
        break;
    case 1: /* used after it was freed: where the first word was, the allocator has something else */
        for (int i = 0; i < 40; i++)
            block[i] = 0x11;
        give((char *)block);
        sum = block[0] + block[9] + block[39];
        if (sum != 3 * 0x11)
            sum = *nowhere;
        break;
    case 2: /* written beyond its end, which would be the next block's beginning */
        if (malloc_usable_size((void *)block) < 48)
            sum = *nowhere;
        for (int i = 0; i < 48; i++)
            block[i] = 7;
        sum = block[47];
        break;
    case 3: /* freed twice */
        give((char *)block);
        give((char *)block);
        sum = 9;
        break;
    case 4: /* without remedy */
        sum = ORACLE ? -1 : *nowhere;
        break;
    }
    return sum;
}
__attribute__((noipa)) long region(int way, int dummy, long a, long b, long c, long d, long e, double x, double y) {
    runs++;
    char *dirty = malloc(24);
    memset(dirty, 0x77, 24);
    free(dirty);
    char *block = make(24);
    long sum = use(way, block);
    if (ORACLE && sum < 0) {
        runs--;
        return -1;
    }
    if (way != 1 && way != 3)
        give((char *)block);
    return sum * 1000 + dummy + a + b + c + d + e + (long)(x * 2 + y);
}
__attribute__((noipa)) static double other(double x, ...) {
    va_list list;
    va_start(list, x);
    double y = va_arg(list, double);
    va_end(list);
    return x + y;
}
int main(void) {
    close(2); /* glibc says "double free" there, before the fault */
    open("/dev/null", O_WRONLY);
    volatile double x = 1.5, y = 70;
    for (int round = 0; round < 4; round++)
        for (int way = 0; way < 5; way++) {
            long result = region(way, 100000, 1, 20, 300, 4000, 50000, x, y);
            printf("%d %ld %d %.1f\n", way, result, runs, other(x, y));
            free(malloc(24)); /* the allocator is whole */
            char *some[50];
            for (int i = 0; i < 50; i++)
                memset(some[i] = malloc(24 + i * 8), 1, 24 + i * 8);
            for (int i = 0; i < 50; i++)
                free(some[i]);
        }
    return 0;
}
