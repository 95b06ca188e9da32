// region: region
// degrades: FOREIGN_GS
// A program with plans of its own for gs is left alone.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static long mine[4] = {1, 2, 3, 4};
__attribute__((noipa)) long region(long n) {
    long value;
    __asm__ volatile("mov %%gs:8, %0" : "=r"(value));
    return value + n;
}
int main(void) {
    syscall(SYS_arch_prctl, ARCH_SET_GS, mine);
    for (int i = 0; i < 1000; i++)
        mine[3] += region(i);
    printf("%ld\n", mine[3]);
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
