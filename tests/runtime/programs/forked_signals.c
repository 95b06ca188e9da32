// region: region
// A child that was forked outside of regions has its parent's context: there too handlers that interrupt a region find
// the original program, and what they write is no region's to undo.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
extern const char __executable_start[], etext[];
static volatile sig_atomic_t heard, inside, elsewhere;
static volatile long sink;
static void on_alarm(int number, siginfo_t *info, void *argument) {
    const greg_t at = ((ucontext_t *)argument)->uc_mcontext.gregs[REG_RIP];
    heard++;
    elsewhere += inside && (at < (greg_t)__executable_start || at >= (greg_t)etext);
}
__attribute__((noipa)) long region(long until) {
    inside = 1;
    for (long i = 0; heard < until && i < 4000000000; i++)
        sink = i;
    inside = 0;
    return heard >= until;
}
int main(void) {
    struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval often = {{0, 1000}, {0, 1000}};
    int status;
    sigaction(SIGALRM, &action, NULL);
    printf("%ld\n", region(0));
    fflush(stdout);
    if (fork() == 0) {
        setitimer(ITIMER_REAL, &often, NULL);
        long done = 0;
        for (int i = 0; i < 50; i++)
            done += region(heard + 1);
        memset(&often, 0, sizeof often);
        setitimer(ITIMER_REAL, &often, NULL);
        printf("%ld, elsewhere %d\n", done, elsewhere);
        fflush(stdout);
        _exit(0);
    }
    wait(&status);
    printf("%x\n", status);
    return 0;
}
