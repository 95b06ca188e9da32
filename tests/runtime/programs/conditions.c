// regions: produce consume start
// faults: 1
// modes: pie
// Condition variables and one-time initialisations in regions that fault afterwards, with the mutex held: it is free
// again.  What was told to others stays; what a waiter did after it was woken is undone.
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
enum { PAIRS = 2, ROUNDS = 1500 };
static volatile int zero;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied = PTHREAD_COND_INITIALIZER;
static volatile long items, taken;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static volatile int tries, begun;
static void initialise(void) {
    begun++;
    if (tries < 5)
        begun /= zero;
}
__attribute__((noipa)) int start(void) {
    pthread_once(&once, initialise);
    return 1;
}
__attribute__((noipa)) int produce(int round) {
    pthread_mutex_lock(&mutex);
    while (items >= 3)
        pthread_cond_wait(&emptied, &mutex);
    items++;
    pthread_cond_broadcast(&filled);
    if (round % 2)
        return round / zero;
    pthread_mutex_unlock(&mutex);
    return 1;
}
__attribute__((noipa)) int consume(int round, int bad) {
    pthread_mutex_lock(&mutex);
    while (!items)
        pthread_cond_wait(&filled, &mutex);
    items--;
    taken++;
    if (bad)
        return round / zero;
    pthread_cond_signal(&emptied);
    pthread_mutex_unlock(&mutex);
    return 1;
}
static int produced(int round) { /* what is left of produce() */
    pthread_mutex_lock(&mutex);
    while (items >= 3)
        pthread_cond_wait(&emptied, &mutex);
    items++;
    pthread_cond_broadcast(&filled);
    pthread_mutex_unlock(&mutex);
    return round % 2 ? -1 : 1;
}
static void *producer(void *unused) {
    long refused = 0;
    for (int round = 1; round <= ROUNDS; round++)
        refused += (ORACLE ? produced(round) : produce(round)) < 0;
    return (void *)refused;
}
static void *consumer(void *unused) {
    long refused = 0;
    for (int round = 1; round <= ROUNDS; round++) {
        refused += round % 3 ? 0 : ORACLE ? 1 : consume(round, 1) < 0;
        consume(round, 0);
    }
    return (void *)refused;
}
static void *starter(void *unused) {
    return (void *)(long)start();
}
int main(void) {
    pthread_t threads[2 * PAIRS];
    void *result;
    alarm(20);
    for (tries = ORACLE ? 5 : 0; tries < 8; tries++) {
        pthread_create(&threads[0], NULL, starter, NULL);
        pthread_join(threads[0], &result);
        if ((int)(long)result != (tries < 5 ? -1 : 1))
            printf("start %d: %ld\n", tries, (long)result);
    }
    for (int i = 0; i < 2 * PAIRS; i++)
        pthread_create(&threads[i], NULL, i % 2 ? producer : consumer, NULL);
    for (int i = 0; i < 2 * PAIRS; i++) {
        pthread_join(threads[i], &result);
        printf("%ld refused\n", (long)result);
    }
    printf("begun %d, items %ld, taken %ld, mutex %d\n", begun, items, taken, pthread_mutex_trylock(&mutex));
    return 0;
}
