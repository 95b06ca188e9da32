// region: region
// faults: 1
// An int3 of the program's own is a fault like any other: in the middle of code, behind a branch, and where a function
// begins that is called through a pointer.
#include <stdio.h>
static long done, kind;
void first(void);
__asm__(".text\n.type first, @function\nfirst: int3\n ret\n.size first, . - first");
static void (*volatile through)(void) = first;
__attribute__((noipa)) long region(long n) {
    done += n;
    if (kind == 0)
        __asm__ volatile("int3");
    if (kind == 1)
        __asm__ volatile("test %0, %0\n jz 1f\n int3\n1:" ::"r"(n));
    if (kind == 2)
        through();
    if (kind == 3)
        __asm__ volatile("ud2");
    return done;
}
int main(void) {
    for (int i = 0; i < 8; i++) {
        kind = i % 4;
        long result = ORACLE ? -1 : region(i + 1);
        printf("%ld %ld\n", result, done);
    }
    return 0;
}
