// region: region
// faults: 1
// Handlers that interrupt a region leave it by siglongjmp, thousands of times; later entries are protected again.
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
static sigjmp_buf target;
static volatile long left, armed;
static volatile int zero;
volatile long sink;
static void on_alarm(int number) {
    (void)number;
    if (armed)
        siglongjmp(target, 1);
}
__attribute__((noipa)) long region(long n, int faults) {
    for (long i = 0; n < 0 || i < n; i++) {
        sink = i;
        __asm__ volatile("push %0\n pop %0" ::"r"(i));
    }
    return faults ? n / zero : sink;
}
int main(void) {
    struct itimerval often = {{0, 100}, {0, 100}};
    long refused = 0, sum = 0;
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (volatile int i = 0; i < 2000; i++) {
        if (sigsetjmp(target, 1) == 0) {
            armed = 1;
            region(-1, 0);
        }
        armed = 0;
        left++;
        sum += region(100, 0);
        sigprocmask(SIG_BLOCK, &alarm, NULL); /* a region that a handler interrupts goes on without protection */
        refused += (ORACLE ? -1 : region(i, 1)) == -1;
        sigprocmask(SIG_UNBLOCK, &alarm, NULL);
    }
    printf("left %ld, sum %ld, refused %ld\n", left, sum, refused);
    return 0;
}
