// region: region
// degrades: NO_EXECUTABLE
// Memory that may never become executable (systemd's MemoryDenyWriteExecute): the original runs.
#include <stdio.h>
#include <sys/prctl.h>
volatile int sink;
__attribute__((noipa)) int region(int n) {
    sink = n;
    return n * 2;
}
int main(void) {
    if (prctl(65 /* PR_SET_MDWE */, 1 /* PR_MDWE_REFUSE_EXEC_GAIN */, 0, 0, 0) != 0)
        perror("prctl");
    long sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += region(i);
    printf("%ld\n", sum);
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
