// What a rescue cannot write, and what a predicate cannot read, is left out and counted; the program goes on.
// regions: lookup
// faults: 1
// options: --out 0:8=1 --require 'lookup: u32[rsi] < 5'
// degrades: RULE
#include <stdio.h>
#include <unistd.h>

static volatile int zero;
static const long constant = 7;

__attribute__((noinline)) int lookup(const long *out, const unsigned *bound) {
    if (ORACLE)
        return -1;
    return (int)(*out / zero) + (bound != NULL);
}

int main(void) {
    char byte;
    alarm(50);
    printf("%d %ld\n", lookup(&constant, (const unsigned *)0xdead000000000000), *(volatile const long *)&constant);
    fflush(stdout);
    return read(0, &byte, 1) < 0;
}
