// region: region
// faults: 1
// A process forks, in a region and outside, while its threads are in regions.  The child goes on in regions, with
// threads of its own, each with a context of its own, although the thread ids of its parent are nobody's now.
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
enum { THREADS = 3, CHILD_THREADS = 8, FORKS = 10 };
static volatile int zero, stop;
static volatile long values[CHILD_THREADS + 1][8];
__attribute__((noipa)) long region(int id, long n, int faults, int forks) {
    for (long i = 0; i < n; i++)
        values[id][i & 7] += i ^ id;
    if (forks)
        return fork();
    return faults ? n / zero : values[id][n & 7];
}
static void *endless(void *id) {
    while (!stop)
        if (!ORACLE && region((int)(long)id, 2000, 1, 0) != -1)
            abort();
    return NULL;
}
static void *counted(void *argument) {
    int id = (int)(long)argument;
    long sum = 0;
    for (int i = 0; i < 300; i++) {
        long result = ORACLE && i % 3 == 0 ? -1 : region(id, 50 + i, i % 3 == 0, 0);
        sum = sum * 31 + result;
        if (i % 50 == 0)
            sched_yield();
    }
    return (void *)sum;
}
static void child(void) {
    pthread_t threads[CHILD_THREADS];
    unsigned long sum = 0;
    for (int id = 0; id <= CHILD_THREADS; id++)
        for (int i = 0; i < 8; i++)
            values[id][i] = 0;
    for (long id = 0; id < CHILD_THREADS; id++)
        pthread_create(&threads[id], NULL, counted, (void *)id);
    sum = (unsigned long)counted((void *)CHILD_THREADS);
    for (int id = 0; id < CHILD_THREADS; id++) {
        void *result;
        pthread_join(threads[id], &result);
        sum = sum * 31 + (unsigned long)result;
    }
    printf("child %lu\n", sum);
    exit(7);
}
int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    pthread_t threads[THREADS];
    for (long id = 0; id < THREADS; id++)
        pthread_create(&threads[id], NULL, endless, (void *)id);
    region(THREADS, 10, 0, 0);
    for (int i = 0; i < FORKS; i++) {
        usleep(1000);
        int status;
        if ((i % 2 ? region(THREADS, 10, 0, 1) : fork()) == 0)
            child();
        wait(&status);
        printf("%d\n", WEXITSTATUS(status));
    }
    stop = 1;
    for (int id = 0; id < THREADS; id++)
        pthread_join(threads[id], NULL);
    return 0;
}
