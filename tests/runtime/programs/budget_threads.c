// Each thread's entry has a budget of its own: those who hang come back, the others never notice.
// regions: work
// budget: 400000
// hangs: 1
// modes: pie
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 6, ROUNDS = 20 };
static volatile long zero;
static long slots[THREADS];

__attribute__((noipa)) long work(long n, long *slot) {
    *slot += 1;
    volatile long sum = 0;
    for (long i = 0; i < 300000; i++)
        sum += i;
#if !ORACLE
    while (n % 2 && !zero)
        sum++;
#else
    if (n % 2) {
        *slot -= 1;
        return -1;
    }
#endif
    return sum;
}

static void *run(void *number) {
    const long n = (long)number;
    long errors = 0;
    for (int i = 0; i < ROUNDS; i++)
        errors += work(n, &slots[n]) == -1;
    return (void *)errors;
}

int main(void) {
    alarm(60);
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run, (void *)i);
    for (long i = 0; i < THREADS; i++) {
        void *errors;
        pthread_join(threads[i], &errors);
        printf("%ld: %ld errors, %ld\n", i, (long)errors, slots[i]);
    }
    return 0;
}
