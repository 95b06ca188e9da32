// regions: region worker
// Threads made, joined, ended and cancelled inside regions: by pthread_exit, at a cancellation point, and at any moment
// (asynchronously); cleanup handlers and destructors of thread data run, and later regions work.
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
enum { WAYS = 5 };
static pthread_key_t key;
static volatile long inside;
static int pipes[2], cleaned, destroyed;
volatile long sink;
static void clean(void *by) {
    cleaned += (int)(long)by;
}
static void destroy(void *value) {
    destroyed += (int)(long)value;
}
__attribute__((noipa)) long worker(long way) {
    char byte;
    long sum = 0;
    pthread_setspecific(key, (void *)1);
    pthread_cleanup_push(clean, (void *)1);
    pthread_cleanup_push(clean, (void *)10);
    if (way == 0)
        pthread_exit((void *)100);
    if (way == 1) { /* a cancellation point that waits */
        inside = 1;
        read(pipes[0], &byte, 1);
    }
    if (way == 2) { /* one that does not */
        inside = 1;
        for (;;)
            pthread_testcancel();
    }
    if (way == 3) { /* anywhere */
        int old;
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
        inside = 1;
        for (;;)
            sink = sum++;
    }
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(0);
    return 200;
}
static void *thread(void *way) {
    worker(WAYS - 1); /* warm: its own return is nothing special */
    return (void *)worker((long)way);
}
__attribute__((noipa)) long region(long way) {
    pthread_t made;
    void *result;
    inside = 0;
    if (pthread_create(&made, NULL, thread, (void *)way))
        return -5;
    if (way >= 1 && way <= 3) {
        while (!inside)
            usleep(100);
        pthread_cancel(made);
    }
    pthread_join(made, &result);
    return (long)result;
}
int main(void) {
    pipe(pipes);
    pthread_key_create(&key, destroy);
    for (int i = 0; i < 40; i++) {
        cleaned = destroyed = 0;
        long result = region(i % WAYS);
        printf("%d: %ld, cleaned %d, destroyed %d\n", i % WAYS, result, cleaned, destroyed);
    }
    return 0;
}
