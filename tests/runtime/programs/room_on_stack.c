// region: arrays pivots keeps
// faults: 1
// Room taken on the stack while a region runs: arrays of any size, and a whole other stack from the heap and back.
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static volatile int zero;
static long total;
static int fault(int fails) { return fails ? 100 / zero : 0; }
__attribute__((noipa)) static void fill(char *at, size_t size) { memset(at, 1, size); }
__attribute__((noipa)) long arrays(int n, int fails) {
    long sum = 0;
    for (int i = 1; i <= n; i++) {
        char variable[i * 100], *taken = alloca(i * 37), *moved;
        /* as other compilers do it: computed in a register, then moved */
        __asm__ volatile("mov %%rsp, %0\n sub %1, %0\n and $-64, %0\n mov %0, %%rsp"
                         : "=&r"(moved) : "r"((long)i * 64) : "memory");
        fill(variable, sizeof variable);
        fill(taken, i * 37);
        fill(moved, i * 64);
        sum += variable[i] + taken[i] + moved[i];
        total++;
    }
    return sum + fault(fails);
}
long on_stack(void *top, long (*function)(long), long argument);
__asm__(".text\non_stack:\n push %rbp\n mov %rsp, %rbp\n mov %rdi, %rsp\n mov %rdx, %rdi\n call *%rsi\n"
        " mov %rbp, %rsp\n pop %rbp\n ret\n");
static long work(long n) {
    volatile long kept[64];
    for (int i = 0; i < 64; i++)
        kept[i] = n + i;
    total += n;
    return n ? work(n - 1) + kept[n] : kept[0];
}
__attribute__((noipa)) long pivots(long n, int fails) { /* leaves its stack: natively from there on */
    char *stack = malloc(64 << 10);
    long result = on_stack(stack + (64 << 10), work, n);
    free(stack);
    return result;
}
__attribute__((noipa)) long keeps(long n, int fails) {
    total += n;
    return work(n) + fault(fails);
}
static long on_other(long n) { return keeps(n, 0) + (ORACLE ? -1 : keeps(n, 1)); }
int main(void) {
    static char other[64 << 10] __attribute__((aligned(64)));
    for (int i = 0; i < 4; i++) {
        printf("%ld %ld", arrays(i * 10, 0), total);
        printf(" %d %ld", ORACLE ? -1 : (int)arrays(i * 10, 1), total);
        printf(" %ld %ld", pivots(i, 0), total);
        printf(" %ld %ld", on_stack(other + sizeof other, on_other, i), total); /* a region on another stack */
        printf(" %d %ld\n", ORACLE ? -1 : (int)keeps(i, 1), total);
    }
    return 0;
}
