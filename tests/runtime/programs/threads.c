// region: region shared
// faults: 1
// Many threads enter, leave and fault in the same regions at once, and are replaced by others.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static volatile int zero;
static long sums[4];
__attribute__((noipa)) int region(int id, int n) {
    volatile char local[100];
    sums[id] += n;
    for (int i = 0; i < 100; i++)
        local[i] = (char)n;
    if (n % 7 == 0) {
        sums[id] = -1000000;
        return n / zero;
    }
    return local[5];
}
__attribute__((noipa)) int shared(int id, int n) {
    char *block = malloc((size_t)n * 100 + 1);
    memset(block, n, (size_t)n * 100 + 1);
    int result = block[n];
    sums[id] += result;
    free(block);
    return result;
}
static void *thread(void *argument) {
    int id = (int)(long)argument, errors = 0;
    for (int i = 1; i < 500; i++) {
        if (ORACLE && i % 100 % 7 == 0)
            errors++;
        else if (region(id, i % 100) < 0)
            errors++;
        shared(id, i % 100);
    }
    return (void *)(long)errors;
}
int main(void) {
    for (int round = 0; round < 50; round++) {
        pthread_t threads[4];
        memset(sums, 0, sizeof sums);
        for (long i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, thread, (void *)i);
        for (int i = 0; i < 4; i++) {
            void *errors;
            pthread_join(threads[i], &errors);
            printf("%d: %ld, %ld refused\n", i, sums[i], (long)errors);
        }
    }
    return 0;
}
