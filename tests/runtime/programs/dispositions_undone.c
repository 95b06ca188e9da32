// region: region
// faults: 1
// Actions, mask and signal stack that a region has changed are as before after its fault.
#include <signal.h>
#include <stdio.h>
#include <string.h>
static const int signals[] = {SIGSEGV, SIGFPE, SIGUSR1, SIGABRT, SIGALRM, 40};
static volatile int zero;
static char stack[65536];
static void before(int number) {
}
static void inside(int number) {
}
__attribute__((noipa)) int region(int n) {
    sigset_t set;
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    for (int i = 0; i < 6; i++)
        signal(signals[i], i % 2 ? SIG_IGN : inside);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigaltstack(&alternate, NULL);
    return n / zero;
}
int main(void) {
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 6; i++)
            signal(signals[i], i % 2 ? before : SIG_DFL);
        int result = ORACLE ? -1 : region(round);
        printf("%d:", result);
        for (int i = 0; i < 6; i++) {
            struct sigaction now;
            sigaction(signals[i], NULL, &now);
            printf(" %s", now.sa_handler == SIG_DFL ? "default" : now.sa_handler == before ? "before" : "other");
        }
        sigset_t set;
        stack_t alternate;
        sigprocmask(SIG_BLOCK, NULL, &set);
        sigaltstack(NULL, &alternate);
        printf(", blocked %d, stack %d\n", sigismember(&set, SIGUSR2), alternate.ss_flags == SS_DISABLE);
    }
    return 0;
}
