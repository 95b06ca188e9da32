// region: asks reads sets writes
// degrades: FOREIGN_GS UNSUPPORTED
// flags: -Wl,-z,now
// gs used inside a region: what was never set reads as 0 and addresses count from 0; once it is set it is the program's,
// whichever way, in the region and in those that follow.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static long mine[4] = {1, 2, 3, 4};
static long written;
static long at(const void *where) {
    long value;
    __asm__ volatile("mov %%gs:(%1), %0" : "=r"(value) : "r"(where));
    return value;
}
__attribute__((noipa)) long asks(long n) {
    unsigned long base = 1;
    written += n;
    syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
    return (long)base + n;
}
__attribute__((noipa)) long reads(const long *where) { /* the base is 0 still */
    written++;
    return at(where);
}
__attribute__((noipa)) long sets(long n) {
    written += n;
    syscall(SYS_arch_prctl, ARCH_SET_GS, mine);
    return at((void *)8) + n;
}
__attribute__((noipa)) long writes(long n) {
    written += n;
    __asm__ volatile("wrgsbase %0" : : "r"(mine + 1));
    return at((void *)8) + n;
}
static void *thread(void *how) {
    long sum = 0;
    for (int i = 0; i < 3; i++)
        sum += asks(i) + reads(mine + 3) * 10;
    sum += how ? sets(1) : writes(1);
    long base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    for (int i = 0; i < 3; i++)
        sum += (long)(asks(i) == base + i) + reads((long *)8) * 100;
    return (void *)sum;
}
int main(void) {
    long sums[3];
    for (long how = 0; how < 2; how++) {
        pthread_t started;
        pthread_create(&started, NULL, thread, (void *)how);
        pthread_join(started, (void **)&sums[how]);
    }
    sums[2] = (long)thread((void *)1);
    printf("%ld %ld %ld %ld\n", sums[0], sums[1], sums[2], written);
    fflush(stdout);
    getchar();
    return 0;
}
