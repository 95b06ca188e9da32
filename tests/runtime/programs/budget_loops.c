// Loops that do not end: every way of closing one, each in a region of its own.
// regions: forward_only self_jump conditional counted_down around_calls around_indirect dispatch around_system_calls recursive
// budget: 300000
// hangs: 1
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static volatile long seen, zero;
static long buffer[64];
#define REGION __attribute__((noipa))

REGION long forward_only(long n) { // ends by itself
    for (long i = 0; i < n; i++)
        buffer[i & 63] += i;
    return buffer[5];
}
#if ORACLE
#define ENDLESS(name, ...) REGION long name(void) { return -1; }
#else
#define ENDLESS(name, ...) REGION long name(void) { __VA_ARGS__ return 1; }
#endif

static long leaf(long n) { return n + 1; }
static long (*volatile pointer)(long) = leaf;

ENDLESS(self_jump, buffer[1] = 7; __asm__ volatile("1: jmp 1b");)
ENDLESS(conditional, buffer[2] = 7; for (long i = 0; !zero; i++) buffer[i & 63]++;)
ENDLESS(counted_down, buffer[3] = 7; __asm__ volatile("1: mov $5, %%ecx\n2: addq $1, %0\nloop 2b\n jecxz 1b" : "+m"(buffer[0]) : : "rcx", "cc");)
ENDLESS(around_calls, buffer[4] = 7; while (!zero) buffer[9] = pointer(buffer[9]);)
// Flags are live all the way around, and nothing but an indirect jump closes the loop.
ENDLESS(around_indirect, buffer[5] = 7; __asm__ volatile("lea 1f(%%rip), %%rdx\n stc\n 1: adcq $0, %0\n stc\n jmp *%%rdx" : "+m"(buffer[0]) : : "rdx", "cc");)
ENDLESS(dispatch, static const void *const labels[] = {&&a, &&b, &&c}; long i = 0; buffer[6] = 7;
        next: goto *labels[i++ % 3]; a: buffer[10]++; goto next; b: buffer[11]++; goto next; c: buffer[12]++; if (zero) return 0; goto next;)
ENDLESS(around_system_calls, buffer[7] = 7; while (!zero) buffer[8] += getppid();)

#if ORACLE
REGION long recursive(long n) { return -1; }
#else
REGION long recursive(long n) { // exponential: 2^60 calls
    buffer[n & 63]++;
    return n > 60 ? 1 : recursive(n + 1) + recursive(n + 1);
}
#endif

int main(void) {
    alarm(60);
    printf("%ld\n", forward_only(10000));
    long (*const all[])(void) = {self_jump, conditional, counted_down, around_calls, around_indirect, dispatch, around_system_calls};
    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
            printf("%u: %ld\n", i, all[i]());
    printf("recursive: %ld\n", recursive(0));
    long sum = 0;
    for (int i = 0; i < 64; i++)
        sum = sum * 31 + buffer[i];
    printf("%ld %ld\n", sum, forward_only(100000));
    return 0;
}
