// options: --region slice_begin..slice_end
// faults: 1
// A slice of a long loop: what it logs does not add up.  It would be 2 GB.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static long sum; static char big[1<<16]; static int *volatile nowhere;
__attribute__((noipa)) static void one(long i) {
    for (int k = 0; k < 64; k++) big[k * 1024] = (char)i;
    sum += i;
    if (i % 1000 == 7 && !ORACLE) sum = *nowhere;
}
__attribute__((noipa)) static long process(long n) {
    for (long i = 0; i < n; i++) {
        __asm__ volatile(".globl slice_begin\nslice_begin:" ::: "memory");
        if (!ORACLE || i % 1000 != 7) one(i);
        __asm__ volatile(".globl slice_end\nslice_end:" ::: "memory");
    }
    return sum;
}
int main(void) { printf("%ld\n", process(60000)); return 0; }
