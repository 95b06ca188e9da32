/* Is interrupted by its own signal handler all the time, works, then faults. */
#define _GNU_SOURCE
#include "sample.h"

#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;
static volatile uint64_t mixed[64];

static void tick(int number) {
    (void)number;
    ticks++;
}

void prepare(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = tick;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &often, NULL);
    state.extra = (const void *)mixed;
    state.extra_length = sizeof mixed;
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    for (int i = 0; i < 300000; i++)
        mixed[i % 64] = mixed[(i * 7 + 1) % 64] * 3 + (uint64_t)record[0];
    sig_atomic_t seen = ticks;
    while (ticks < seen + 2)
        ;
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    return value_of(record) + (*word & 1);
}
