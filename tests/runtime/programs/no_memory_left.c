// region: region
// modes: pie
// carried: 1
// flags: -lm
// No memory can be had any more when a region comes to libraries that it has not been in: what was reserved does.
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
static double (*volatile functions[])(double) = {sin, cos, tan, exp, log, cbrt, tgamma, erf};
__attribute__((noipa)) double region(int n, double x) {
    return n < 0 ? x : functions[n](x);
}
int main(void) {
    double sum = 0;
    struct rlimit none = {0, 0};
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    sum += region(-1, 1) + sin(1); /* bound */
    setrlimit(RLIMIT_AS, &none);
    setrlimit(RLIMIT_DATA, &none);
    for (int i = 0; i < 800; i++)
        sum += region(i % 8, 1 + i * 0.01);
    printf("%a\n", sum);
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
