// region: region
// degrades: FOREIGN_GS
// The gs base belongs to the program before any of its regions runs: set by a constructor.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static long mine[4] = {10, 20, 30, 40};
__attribute__((noipa)) long region(long n) {
    mine[2] += n;
    return mine[2];
}
__attribute__((constructor)) static void early(void) {
    syscall(SYS_arch_prctl, ARCH_SET_GS, mine);
    mine[3] += region(1);
}
static long at(long offset) {
    long value;
    __asm__ volatile("mov %%gs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}
int main(void) {
    long sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += region(i) + at(8 * (i % 3));
    printf("%ld %ld\n", sum, at(24));
    fflush(stdout);
    getchar();
    return 0;
}
