// region: region
// degrades: SEALED
// The strictest filter (seccomp's strict mode: read, write, exit) before the first entry of a region: the original runs.
#define _GNU_SOURCE
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
volatile int sink;
__attribute__((noipa)) int region(int n) {
    sink = n;
    return n * 2;
}
int main(void) {
    char line[100];
    long sum = 0;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
        perror("prctl");
    for (int i = 0; i < 1000; i++)
        sum += region(i);
    write(1, line, snprintf(line, sizeof line, "%ld\n", sum));
    read(0, line, 1); /* while the test reads the counters */
    __asm__ volatile("syscall" ::"a"(SYS_exit), "D"(0));
    return 0;
}
