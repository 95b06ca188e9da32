// A thread that is single-stepped out of a stub to a held signal takes the step for one, however it is told of it: under
// some hypervisors the processor's DR6 does not say that it was a step, and the kernel then calls it TRAP_BRKPT.
// regions: visit
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t area[64];
static volatile unsigned arrivals;

// Small and entered often: most signals come in its gate.
__attribute__((noinline)) uint64_t visit(uint64_t n) {
    area[n % 64] += n;
    __asm__ volatile("" ::: "memory");
    return area[n % 64];
}

static void on_alarm(int signal) {
    (void)signal;
    arrivals++;
}

static int traced(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 300}, {0, 300}};
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    uint64_t zeros = 0;
    while (arrivals < 1000)
        for (uint64_t i = 1; i < 200; i++)
            zeros += !visit(i);
    return zeros ? 3 : 0;
}

int main(void) {
    const pid_t child = fork();
    if (!child)
        _exit(traced());
    int status;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        siginfo_t info;
        ptrace(PTRACE_GETSIGINFO, child, 0, &info);
        if (info.si_signo == SIGTRAP && info.si_code == TRAP_TRACE) {
            info.si_code = TRAP_BRKPT;
            ptrace(PTRACE_SETSIGINFO, child, 0, &info);
        }
        ptrace(PTRACE_CONT, child, 0, WSTOPSIG(status));
    }
    printf("exited %d with %d\n", WIFEXITED(status), WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return 0;
}
