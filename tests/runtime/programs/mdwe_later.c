// region: region
// degrades: NO_EXECUTABLE
// Memory may not become executable from some point on: code that has been translated goes on being emulated, other code
// runs natively.
#include <stdio.h>
#include <sys/prctl.h>
static volatile int sink;
__attribute__((noinline)) static int rarely(int n) {
    sink = n;
    return n * 3;
}
static int (*volatile rare)(int) = rarely; /* not to be foreseen */
__attribute__((noipa)) int region(int n) {
    sink = n;
    return n % 10 == 3 ? rare(n) : n * 2;
}
int main(void) {
    long sum = region(1);
    if (prctl(65 /* PR_SET_MDWE */, 1 /* PR_MDWE_REFUSE_EXEC_GAIN */, 0, 0, 0) != 0)
        perror("prctl");
    for (int i = 0; i < 1000; i++)
        sum += region(i);
    printf("%ld\n", sum);
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
