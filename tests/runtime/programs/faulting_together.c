// regions: region nested
// faults: 1
// Many threads are inside the same region at once and fault there at once, each in its own way: each is rescued with its
// own memory, thread-local variables and registers.
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
enum { THREADS = 12, ROUNDS = 60, WAYS = 5 };
static volatile int zero, go, inside[THREADS][16];
static long values[THREADS], sums[THREADS], owns[THREADS];
static __thread long own = 5;
__attribute__((noipa)) int nested(int id, int way) {
    own++;
    values[id]++;
    switch (way) {
    case 0:
        return *(volatile int *)(long)(id + zero);
    case 1:
        return id / zero;
    case 2:
        __asm__ volatile("ud2");
    case 3:
        return ((int (*)(void))(0x10000l + id))();
    default:
        return id; /* no fault */
    }
}
__attribute__((noipa)) int region(int id, int round) {
    values[id] += 100;
    own += 10;
    inside[id][0] = round;
    while (go != round)
        sched_yield();
    int result = nested(id, (id + round) % WAYS);
    if (round % 2)
        return id * 1000 + round + result;
    return *(volatile int *)(long)(zero + 8);
}
/* What is left of region(): nested() is rescued by itself with -1, region() with all it did in even rounds. */
static int expected(int id, int round) {
    int fine = (id + round) % WAYS == WAYS - 1;
    inside[id][0] = round;
    while (go != round)
        sched_yield();
    inside[id][0] = round % 2 ? round : round - 1;
    if (round % 2 == 0)
        return -1;
    values[id] += 100 + fine;
    own += 10 + fine;
    return id * 1000 + round + (fine ? id : -1);
}
static void *thread(void *argument) {
    const int id = (int)(long)argument;
    long sum = 0;
    for (int round = 1; round <= ROUNDS; round++) {
        inside[id][1] = round;
        sum = sum * 31 + (ORACLE ? expected(id, round) : region(id, round)) + inside[id][0];
    }
    sums[id] = sum;
    owns[id] = own;
    return NULL;
}
int main(void) {
    pthread_t threads[THREADS];
    for (long id = 0; id < THREADS; id++)
        pthread_create(&threads[id], NULL, thread, (void *)id);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int id = 0; id < THREADS; id++)
            while (inside[id][1] != round || inside[id][0] != round)
                sched_yield();
        go = round;
    }
    for (int id = 0; id < THREADS; id++)
        pthread_join(threads[id], NULL);
    for (int id = 0; id < THREADS; id++)
        printf("%ld %ld %ld\n", sums[id], values[id], owns[id]);
    return 0;
}
