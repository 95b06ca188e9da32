// region: region
// faults: 1
// options: --strategy end-thread
// The thread ends in the place of the region, as if that had called pthread_exit: cleanup handlers run, what is the
// thread's own is destroyed, and what the region did is undone.  The first thread does not end: there it returns an error.
#include <pthread.h>
#include <stdio.h>
static void (*volatile ending)(void *) = pthread_exit; /* a static program has it only if it names it */
static pthread_key_t key;
static volatile long memory, cleaned, destroyed;
static long *volatile nowhere;
static void clean(void *what) { cleaned += (long)what; }
static void destroy(void *what) { destroyed += (long)what; }
__attribute__((noipa)) long region(long n) {
    memory = n;
    if (ORACLE) {
        memory = 0;
        pthread_exit(NULL);
    }
    return *nowhere;
}
static void *serve(void *number) {
    pthread_setspecific(key, (void *)1);
    pthread_cleanup_push(clean, number);
    region((long)number);
    memory = -1;
    pthread_cleanup_pop(0);
    return (void *)1;
}
int main(void) {
    pthread_key_create(&key, destroy);
    for (long i = 1; i < 20; i++) {
        pthread_t thread;
        void *result = (void *)7;
        pthread_create(&thread, NULL, serve, (void *)i);
        pthread_join(thread, &result);
        printf("%ld: %p %ld %ld %ld\n", i, result, memory, cleaned, destroyed);
    }
    printf("%ld\n", ORACLE ? -1 : region(3));
    return 0;
}
