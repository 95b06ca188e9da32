// region: region
// degrades: TOO_MANY_THREADS
// More threads alive than there are contexts: the others run the original, and are counted.
#include <pthread.h>
#include <stdio.h>
enum { THREADS = 160 };
static pthread_barrier_t all;
static long sums[THREADS];
__attribute__((noipa)) long region(long id, long n) {
    for (long i = 0; i < n; i++)
        sums[id] += i ^ id;
    return sums[id];
}
static void *thread(void *argument) {
    long id = (long)argument, sum = 0;
    sum += region(id, 100);
    pthread_barrier_wait(&all);
    sum += region(id, 1000);
    pthread_barrier_wait(&all);
    return (void *)sum;
}
int main(void) {
    pthread_t threads[THREADS];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_barrier_init(&all, NULL, THREADS);
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], &small, thread, (void *)i))
            perror("pthread_create");
    unsigned long sum = 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum = sum * 31 + (unsigned long)result;
    }
    printf("%lu\n", sum);
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
