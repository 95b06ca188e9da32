// region: region
// degrades: SEALED
// Threads that first enter a region after the program has installed its filter run it natively: what the runtime asks
// for at a thread's first entry would be their end.  Threads that are known go on being emulated.
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#define KILL(name)                                                                                                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
static volatile long sink;
__attribute__((noipa)) long region(long n) {
    sink = n;
    return n * 2;
}
static void *thread(void *n) {
    long sum = 0;
    for (long i = 0; i < 1000; i++)
        sum += region((long)n + i);
    return (void *)sum;
}
int main(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        KILL(gettid), KILL(getpid), KILL(tgkill), KILL(sigaltstack), KILL(arch_prctl), KILL(rt_sigaction), KILL(openat),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    pthread_t threads[8];
    long sum = region(1);
    pthread_create(&threads[0], NULL, thread, (void *)7l); /* glibc sets its own handlers up here */
    pthread_join(threads[0], NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        perror("prctl");
    for (long i = 0; i < 8; i++)
        if (pthread_create(&threads[i], NULL, thread, (void *)i))
            puts("no thread");
    sum += (long)thread((void *)100);
    for (int i = 0; i < 8; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    printf("%ld\n", sum);
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
