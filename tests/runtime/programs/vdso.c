// region: region
// faults: 1
// The vDSO's functions in a region: what they say agrees with the system calls, and a rollback takes back what they wrote.
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile int zero;
static struct times {
    struct timespec real, monotonic, coarse, resolution;
    struct timeval day;
    time_t seconds;
    unsigned cpu;
} now;
__attribute__((noipa)) int region(int fails) {
    clock_gettime(CLOCK_REALTIME, &now.real);
    clock_gettime(CLOCK_MONOTONIC, &now.monotonic);
    clock_gettime(CLOCK_REALTIME_COARSE, &now.coarse);
    clock_getres(CLOCK_MONOTONIC, &now.resolution);
    gettimeofday(&now.day, NULL);
    time(&now.seconds);
    getcpu(&now.cpu, NULL);
    return fails ? 100 / zero : 1;
}
static long long in_ns(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }
int main(void) {
    for (int i = 0; i < 200; i++) {
        struct timespec before[2], after[2];
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &before[0]);
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &before[1]);
        int result = region(0);
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &after[0]);
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &after[1]);
        const struct times kept = now;
        int good = in_ns(before[0]) <= in_ns(now.real) && in_ns(now.real) <= in_ns(after[0]) &&
                   in_ns(before[1]) <= in_ns(now.monotonic) && in_ns(now.monotonic) <= in_ns(after[1]) &&
                   now.day.tv_sec >= now.real.tv_sec && now.seconds >= before[0].tv_sec - 1 && now.cpu < 4096 &&
                   now.resolution.tv_nsec == 1 && now.coarse.tv_sec >= before[0].tv_sec - 1;
        int failed = ORACLE ? -1 : region(1);
        if (i % 50 == 0 || !good)
            printf("%d %d %d %d\n", result, good, failed, memcmp(&kept, &now, sizeof now));
    }
    return 0;
}
