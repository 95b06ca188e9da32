// regions: region leave
// faults: 1
// modes: pie
// Threads fault while they hold a mutex for which others wait, and after they have let it go: the data is as before, the
// mutex is free, whatever its kind, and the others go on.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
enum { THREADS = 4, ROUNDS = 1500, KINDS = 4 };
static volatile int zero;
static pthread_mutex_t mutexes[KINDS];
static volatile long shared[KINDS][2];
static volatile long own[THREADS * 16];
__attribute__((noipa)) int region(int kind, int round) {
    pthread_mutex_lock(&mutexes[kind]);
    if (kind == 1)
        pthread_mutex_lock(&mutexes[kind]);
    shared[kind][0]++;
    if (round % 3 == 0)
        return round / zero;
    shared[kind][1]++;
    if (kind == 1)
        pthread_mutex_unlock(&mutexes[kind]);
    pthread_mutex_unlock(&mutexes[kind]);
    return 1;
}
/* The data is the thread's own: nobody else changes what the region has written before it let the mutex go. */
__attribute__((noipa)) int leave(int kind, int id, int round) {
    own[id * 16]++;
    pthread_mutex_lock(&mutexes[kind]);
    own[id * 16 + 1] += own[id * 16];
    pthread_mutex_unlock(&mutexes[kind]);
    own[id * 16]++;
    return round / zero;
}
static void *thread(void *argument) {
    const int id = (int)(long)argument;
    long refused = 0;
    for (int round = 1; round <= ROUNDS; round++) {
        const int kind = (round + id) % KINDS;
        refused += ORACLE && round % 3 == 0 ? 1 : region(kind, round) < 0;
        refused += ORACLE && round % 5 == 0 ? 1 : round % 5 == 0 && leave(kind, id, round) < 0;
    }
    return (void *)refused;
}
int main(void) {
    const int kinds[KINDS] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK,
                              PTHREAD_MUTEX_ADAPTIVE_NP};
    pthread_t threads[THREADS];
    alarm(20);
    for (int kind = 0; kind < KINDS; kind++) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_settype(&attributes, kinds[kind]);
        pthread_mutex_init(&mutexes[kind], &attributes);
    }
    for (long id = 0; id < THREADS; id++)
        pthread_create(&threads[id], NULL, thread, (void *)id);
    for (int id = 0; id < THREADS; id++) {
        void *refused;
        pthread_join(threads[id], &refused);
        printf("%ld refused, own %ld %ld\n", (long)refused, own[id * 16], own[id * 16 + 1]);
    }
    for (int kind = 0; kind < KINDS; kind++) {
        const int *words = (const int *)&mutexes[kind]; /* lock, depth, owner, users */
        printf("%ld %ld, words %d %d %d %d, ", shared[kind][0], shared[kind][1], words[0], words[1], words[2], words[3]);
        printf("try %d\n", pthread_mutex_trylock(&mutexes[kind]));
    }
    return 0;
}
