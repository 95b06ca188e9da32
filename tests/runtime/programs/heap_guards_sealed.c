// region: attempt
// options: --guard heap
// modes: pie
// degrades: GUARD
// The program locks itself in so that opening a page would be its end (seccomp's strict mode).  What native code does to
// freed blocks and beside others is of no consequence, as without guards.
#define _GNU_SOURCE
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int sink;

__attribute__((noinline)) int attempt(char *block) {
    char *other = malloc(40);
    memcpy(other, block, 20);
    const int result = other[3];
    free(other);
    return result;
}

int main(void) {
    char line[100];
    char *freed = memset(malloc(5000), 3, 5000), *kept = memset(malloc(40000), 4, 40000), *last = malloc(20);
    const int before = attempt(kept);
    free(freed);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
        write(1, line, snprintf(line, sizeof line, "not sealed\n"));
    for (int i = 0; i < 5000; i += 50)
        sink += ((volatile char *)freed)[i];
    for (int i = 40000; i < 44000; i += 50)
        sink += ((volatile char *)kept)[i];
    free(last);
    last = malloc(20);
    const int after = attempt(kept);
    free(kept);
    sink = ((volatile char *)kept)[40000 - 1] - ((volatile char *)kept)[40000 - 1];
    write(1, line, snprintf(line, sizeof line, "%d %d %d %d\n", before, after, sink, last != NULL));
    read(0, line, 1); /* while the test reads the counters */
    __asm__ volatile("syscall" ::"a"(SYS_exit), "D"(0));
    return 0;
}
