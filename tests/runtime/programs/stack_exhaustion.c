// region: deep nested changes
// faults: 1
// flags: -Wl,-z,now
// Recursion to the end of the stack: caught and undone on the main thread and on others with small stacks, with and
// without a signal stack of the program's own, again and again.  A region that sets one and faults has not.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
static __thread long levels;
static volatile int endless = 1;
__attribute__((noipa)) long deep(long n) {
    volatile char room[256];
    room[n & 255] = 1;
    levels++;
    return endless || n ? deep(n - 1) + room[3] : 0;
}
static long sink(long n) { /* not a region itself */
    volatile char room[200];
    room[n & 127] = 1;
    return sink(n + 1) + room[1];
}
__attribute__((noipa)) long nested(long n) {
    levels += 1000;
    return n ? nested(n - 1) + 1 : sink(n);
}
static volatile int zero;
__attribute__((noipa)) long changes(const stack_t *stack, long n) { /* the signal stack, and faults: as it was */
    sigaltstack(stack, NULL);
    return levels += n / zero;
}
static void *run(void *own) {
    stack_t stack = {.ss_sp = malloc(SIGSTKSZ), .ss_size = SIGSTKSZ}, now;
    if (own)
        sigaltstack(&stack, NULL);
    for (int i = 0; i < 3; i++) {
        long a = ORACLE ? -1 : deep(i), b = ORACLE ? -1 : nested(i);
        printf("%ld %ld %ld\n", a, b, levels);
        levels++;
    }
    stack_t other = {.ss_sp = malloc(SIGSTKSZ), .ss_size = SIGSTKSZ};
    printf("%ld %ld ", ORACLE ? -1 : changes(&other, 1), levels);
    other.ss_flags = SS_DISABLE;
    printf("%ld %ld\n", ORACLE ? -1 : changes(&other, 1), levels);
    sigaltstack(NULL, &now);
    printf("%d\n", own ? now.ss_sp == stack.ss_sp && now.ss_size == stack.ss_size : now.ss_flags == SS_DISABLE);
    stack = (stack_t){.ss_flags = SS_DISABLE};
    if (own)
        sigaltstack(&stack, NULL);
    return NULL;
}
int main(void) {
    static const size_t sizes[] = {64 << 10, 96 << 10, 1 << 20};
    struct rlimit limit = {1 << 20, RLIM_INFINITY};
    setrlimit(RLIMIT_STACK, &limit);
    for (long own = 0; own < 2; own++)
        for (int i = 0; i < 3; i++) {
            pthread_attr_t attributes;
            pthread_t thread;
            pthread_attr_init(&attributes);
            pthread_attr_setstacksize(&attributes, sizes[i]);
            pthread_create(&thread, &attributes, run, (void *)own);
            pthread_join(thread, NULL);
        }
    run((void *)1);
    run(NULL);
    return 0;
}
