// region: forks
// faults: 1
// A child that faults in a region which its parent had entered goes on from the region's call, and is itself: what the
// C library knows of its thread is not the parent's again.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int zero;
static __thread volatile long beside; /* what is logged beside it has the number of the thread */
__attribute__((noipa)) int forks(void) {
    beside = 5;
    errno = 7;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    int child = fork(), status;
#if !ORACLE
    if (!child)
        return 100 / zero;
#endif
    if (!child)
        return beside = 0, -1;
    waitpid(child, &status, 0);
    if (status)
        _exit(1);
    return 3;
}
int main(void) {
    alarm(20);
    int result = forks();
    pthread_mutexattr_t kind;
    pthread_mutex_t mutex;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&mutex, &kind);
    pthread_mutex_lock(&mutex);
    printf("%d %ld %d\n", result, beside, mutex.__data.__owner == gettid());
    return 0;
}
