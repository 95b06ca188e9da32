// region: many branches straight jumps
// faults: 1
// flags: -O0
// Functions too large for one unit of translation: of blocks, of branches, of instructions; what they write is undone.
#include <stdio.h>
#include <stdlib.h>
static volatile int zero;
static long out[64];
static int fault(int fails) { return fails ? 100 / zero : 0; }
#define TEN(X) X X X X X X X X X X
#define HUNDRED(X) TEN(TEN(X))
#define STEP n = n * 5 + 3; out[n & 63] += n;
#define BRANCH if (n & 1) { n = n * 3 + 1; out[n & 63]++; } else { n /= 2; }
__attribute__((noipa)) long branches(unsigned n, int fails) {
    HUNDRED(TEN(BRANCH))
    return n + fault(fails);
}
__attribute__((noipa)) long straight(unsigned n, int fails) {
    HUNDRED(TEN(STEP))
    return n + fault(fails);
}
/* Cases that are all reached by one indirect jump, and a loop around them. */
__attribute__((noipa)) long many(unsigned n, int fails) {
    unsigned sum = 0;
#define CASE(i) case i: sum = sum * 7 + i; out[i & 63] += sum; break;
#define CASES(i) CASE(i) CASE(i + 1) CASE(i + 2) CASE(i + 3) CASE(i + 4) CASE(i + 5) CASE(i + 6) CASE(i + 7)
#define MORE(i) CASES(i) CASES(i + 8) CASES(i + 16) CASES(i + 24) CASES(i + 32) CASES(i + 40) CASES(i + 48) CASES(i + 56)
    for (unsigned i = 0; i < 1024; i++)
        switch ((i * 17 + n) % 1024) {
            MORE(0) MORE(64) MORE(128) MORE(192) MORE(256) MORE(320) MORE(384) MORE(448)
            MORE(512) MORE(576) MORE(640) MORE(704) MORE(768) MORE(832) MORE(896) MORE(960)
        }
    return sum % 1000000 + fault(fails);
}
__attribute__((noipa)) long jumps(unsigned n, int fails) { /* a chain of jumps across two megabytes */
    long result = n;
    __asm__ volatile("jmp 2f\n .skip 1048576, 0xcc\n1: add $7, %0\n jmp 3f\n .skip 1048576, 0xcc\n2: add $5, %0\n jmp 1b\n3:\n" : "+r"(result));
    out[result & 63] += result;
    return result + fault(fails);
}
static void show(long result) {
    long sum = 0;
    for (int i = 0; i < 64; i++)
        sum = sum * 31 + out[i];
    printf("%ld %lx\n", result, sum);
}
int main(void) {
    for (unsigned n = 1; n < 5; n++) {
        show(branches(n * 1000003, 0));
        show(ORACLE ? -1 : branches(n * 77777, 1));
        show(straight(n, 0));
        show(ORACLE ? -1 : straight(n, 1));
        show(many(n, 0));
        show(ORACLE ? -1 : many(n, 1));
        show(jumps(n, 0));
        show(ORACLE ? -1 : jumps(n, 1));
    }
    return 0;
}
