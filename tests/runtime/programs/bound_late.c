// region: lazy chooses
// faults: 1
// flags: -Wl,-z,lazy -fno-builtin
// Functions that are bound at their first call, inside a region that then faults: bound again or still, they are called
// with all their arguments.  Resolvers of indirect functions run there too.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static volatile int zero;
static int resolved;
static int fault(int fails) { return fails ? 100 / zero : 0; }
static long with_eight(long a, long b, long c, long d, long e, long f, double x, double y) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + (long)(x * 10 + y * 100);
}
static long with_other(long a, long b, long c, long d, long e, long f, double x, double y) { return -a; }
static void *resolve(void) { return zero ? with_other : with_eight; }
__attribute__((ifunc("resolve"))) long chosen(long, long, long, long, long, long, double, double);
static volatile long calls;
__attribute__((noipa)) long lazy(const char *text, int fails) {
    char *end, copy[64];
    calls++;
    double d = strtod(text, &end);
    long n = strtol(end, &end, 16);
    sprintf(copy, "%.2f %ld %c %s", d, n, toupper(*end), strpbrk(end, "xyz"));
    return atoi(copy) + (long)strlen(copy) + fault(fails);
}
__attribute__((noipa)) long chooses(long n, int fails) {
    calls += 10;
    long (*volatile pointer)(long, long, long, long, long, long, double, double) = chosen;
    return chosen(n, 2, 3, 4, 5, 6, 7.5, 8.5) * 3 + pointer(1, n, 3, 4, 5, n, 7.5, n) + fault(fails);
}
int main(void) {
    for (int i = 0; i < 4; i++) {
        printf("%ld ", ORACLE ? -1 : lazy("12.75 ff qwxyz", 1));
        printf("%ld %ld ", lazy("12.75 ff qwxyz", 0), calls);
        printf("%ld ", ORACLE ? -1 : chooses(i, 1));
        printf("%ld %ld\n", chooses(i, 0), calls);
    }
    return 0;
}
