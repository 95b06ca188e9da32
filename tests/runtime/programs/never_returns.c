// region: serves works ends
// faults: 1
// gives: 7
// A region that never returns, as a server's loop: faults in the regions that it calls, and in functions it calls back
// through pointers, and then its end by exit() with handlers that are regions too.
#include <stdio.h>
#include <stdlib.h>
static volatile int zero;
static long done, failed;
__attribute__((noipa)) long works(long n) {
    done += n;
    return n % 3 ? n : 100 / zero;
}
__attribute__((noipa)) long ends(void) {
    done += 1000;
    return 100 / zero;
}
static void at_end(void) {
    long result = ORACLE ? -1 : ends();
    printf("end %ld %ld\n", result, done);
}
__attribute__((noipa, noreturn)) void serves(long rounds) {
    for (long n = 1;; n++) {
        if (n > rounds)
            exit(7);
        long result = ORACLE && n % 3 == 0 ? -1 : works(n);
        if (result < 0)
            failed++;
        if (n % 10 == 0)
            printf("%ld %ld\n", done, failed);
    }
}
int main(void) {
    atexit(at_end);
    serves(50);
}
