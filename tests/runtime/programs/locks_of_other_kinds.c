// region: region
// faults: 1
// modes: pie
// Spin locks in words of any size, and semaphores: held at a fault, they are free behind it.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
enum { THREADS = 4, ROUNDS = 1500, KINDS = 6, PERMITS = 2 };
static volatile int zero;
static sem_t semaphore, single;
static volatile uint8_t byte_lock;
static volatile uint16_t short_lock;
static volatile uint32_t compared_lock;
static volatile uint64_t wide_lock;
static volatile long guarded[KINDS];
static void take(int kind) {
    uint32_t free_word = 0;
    switch (kind) {
    case 0:
        while (__atomic_exchange_n(&short_lock, 3, __ATOMIC_ACQUIRE))
            sched_yield();
        break;
    case 1:
        sem_wait(&single);
        break;
    case 2:
        while (__atomic_exchange_n(&byte_lock, 1, __ATOMIC_ACQUIRE))
            sched_yield();
        break;
    case 3:
        while (!__atomic_compare_exchange_n(&compared_lock, &free_word, 77, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            free_word = 0;
            sched_yield();
        }
        break;
    case 4:
        while (__atomic_exchange_n(&wide_lock, 1ull << 40, __ATOMIC_ACQUIRE))
            sched_yield();
        break;
    default:
        sem_wait(&semaphore);
        break;
    }
}
static void give(int kind) {
    switch (kind) {
    case 0:
        __atomic_store_n(&short_lock, 0, __ATOMIC_RELEASE);
        break;
    case 1:
        sem_post(&single);
        break;
    case 2:
        __atomic_store_n(&byte_lock, 0, __ATOMIC_RELEASE);
        break;
    case 3:
        __atomic_exchange_n(&compared_lock, 0, __ATOMIC_RELEASE);
        break;
    case 4:
        __atomic_store_n(&wide_lock, 0, __ATOMIC_RELEASE);
        break;
    default:
        sem_post(&semaphore);
        break;
    }
}
__attribute__((noipa)) int region(int kind, int round) {
    take(kind);
    if (kind < KINDS - 1)
        guarded[kind]++;
    if (round % 3 == 0)
        return round / zero;
    give(kind);
    return 1;
}
static void *thread(void *argument) {
    const int id = (int)(long)argument;
    long refused = 0;
    for (int round = 1; round <= ROUNDS; round++)
        refused += ORACLE && round % 3 == 0 ? 1 : region((round / 3 + id) % KINDS, round) < 0;
    return (void *)refused;
}
int main(void) {
    pthread_t threads[THREADS];
    int single_value, value;
    alarm(20);
    sem_init(&single, 0, 1);
    sem_init(&semaphore, 0, PERMITS);
    for (long id = 0; id < THREADS; id++)
        pthread_create(&threads[id], NULL, thread, (void *)id);
    for (int id = 0; id < THREADS; id++) {
        void *refused;
        pthread_join(threads[id], &refused);
        printf("%ld refused\n", (long)refused);
    }
    sem_getvalue(&single, &single_value);
    sem_getvalue(&semaphore, &value);
    for (int kind = 0; kind < KINDS; kind++)
        printf("%ld ", guarded[kind]);
    printf("semaphores %d %d, words %u %u %u %llu\n", single_value, value, byte_lock, short_lock, compared_lock,
           (unsigned long long)wide_lock);
    return 0;
}
