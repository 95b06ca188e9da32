// region: region
// faults: 1
// options: --strategy oblivious
// An access that cannot be made is left out and the region goes on behind it: stores are gone, loads give the numbers of
// the sequence 0 1 2 0 1 3 0 1 4 …, read-modify-writes compute with them; a divide by zero gives 0; string instructions are
// over at once.  What the region did before and after stays.  Natively the sequence is in memory of its own.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
static unsigned long taken;
static uint64_t next(void) { /* what the next load gives */
    unsigned long n = taken++;
    return n % 3 < 2 ? n % 3 : 2 + n / 3 % 254;
}
static uint64_t memory[64] __attribute__((aligned(64)));
static void *place(void) { /* bad memory, or natively what it reads as */
    if (!ORACLE)
        return (void *)0x40;
    memset(memory, 0, sizeof memory);
    memory[0] = next();
    return memory;
}
static volatile int stored, zero;
__attribute__((noipa)) long region(int step, long a, long b) {
    uint64_t out = 0, flags = 0;
    void *p = place();
    stored++;
    switch (step) {
    case 0:
        __asm__ volatile("mov (%1), %0" : "=r"(out) : "r"(p));
        break;
    case 1:
        __asm__ volatile("movzbl (%1), %k0" : "=r"(out) : "r"(p));
        break;
    case 2:
        __asm__ volatile("movsbq 8(%1,%2,8), %0" : "=r"(out) : "r"((char *)p - 8 - 8 * 3), "r"(3L));
        break;
    case 3:
        __asm__ volatile("mov %1, (%0)" ::"r"(p), "r"(a) : "memory");
        taken -= ORACLE;
        break;
    case 4: /* flags as computed */
        out = a;
        __asm__ volatile("add %0, (%2)\n pushfq\n pop %1" : "+r"(out), "=r"(flags) : "r"(p) : "memory", "cc");
        break;
    case 5:
        out = a;
        __asm__ volatile("lock xadd %0, (%2)\n pushfq\n pop %1" : "+r"(out), "=r"(flags) : "r"(p) : "memory", "cc");
        break;
    case 6:
        __asm__ volatile("cmpq $5, (%1)\n pushfq\n pop %0" : "=r"(flags) : "r"(p) : "cc");
        break;
    case 7:
        __asm__ volatile("movdqa (%1), %%xmm3\n movq %%xmm3, %0" : "=r"(out) : "r"(p) : "xmm3");
        break;
    case 8:
        __asm__ volatile("movq %2, %%xmm3\n paddq (%1), %%xmm3\n movq %%xmm3, %0" : "=r"(out) : "r"(p), "r"(a) : "xmm3");
        break;
    case 9: /* register operands with every extension bit, an immediate behind the displacement */
        __asm__ volatile("mov %1, %%r13\n imul $77, 0(%%r13), %%r14\n mov %%r14, %0" : "=r"(out) : "r"(p) : "r13", "r14", "cc");
        break;
    case 10:
        __asm__ volatile("mov %0, %%r12\n xor %%r15d, %%r15d\n movl $99, (%%r12,%%r15,4)\n shll $2, (%%r12)" ::"r"(p) : "r12", "r15", "memory", "cc");
        break;
    case 11:
        __asm__ volatile("pushq (%1)\n pop %0" : "=r"(out) : "r"(p));
        break;
    case 12:
        __asm__ volatile("cvtsi2sdq (%1), %%xmm1\n cvttsd2si %%xmm1, %0" : "=r"(out) : "r"(p) : "xmm1");
        break;
    case 13:
        __asm__ volatile("fildll (%1)\n fistpll %0" : "=m"(out) : "r"(p));
        break;
    case 14: /* the program's mistake is not a memory's: quotient and remainder 0 */
        taken -= ORACLE;
        if (!ORACLE)
            out = (uint64_t)(a / zero + b % zero) + (uint64_t)((int)a % (int)zero) + (uint64_t)((unsigned)a / (unsigned)zero);
        break;
    case 15: {
        char *to = p, from[40] = "abcdefghijklmnopqrstuvwxyz";
        char *s = from;
        long n = 30;
        taken -= ORACLE;
        if (!ORACLE)
            __asm__ volatile("rep movsb" : "+D"(to), "+S"(s), "+c"(n)::"memory");
        out = ORACLE ? 30 : (uint64_t)(s - from) + (uint64_t)n * 100;
        break;
    }
    case 16:
        taken -= ORACLE;
        out = 0x40 + 80;
        if (!ORACLE) {
            long n = 10;
            __asm__ volatile("std\n cld\n rep stosq" : "+D"(p), "+c"(n) : "a"(a) : "memory", "cc");
            out = (uint64_t)p + (uint64_t)n;
        }
        break;
    case 17: /* a loop that looks for a byte ends */
        if (ORACLE) {
            taken--;
            while ((uint8_t)next() != 200) {
            }
        } else {
            volatile uint8_t *at = p;
            while (*at++ != 200) {
            }
        }
        break;
    case 18:
        __asm__ volatile("cmpxchg16b (%1)" : "=a"(out) : "r"(p), "a"(a), "b"(1L), "c"(2L), "d"(0L) : "memory", "cc");
        break;
    }
    stored += 10;
    return (long)(out ^ (flags & 0x8d5) << 32);
}
int main(void) {
    for (int step = 0; step < 19; step++)
        for (int round = 0; round < 3; round++) {
            long result = region(step, 7, 9);
            printf("%d %lx\n", step, result);
        }
    printf("%d\n", stored);
    return 0;
}
