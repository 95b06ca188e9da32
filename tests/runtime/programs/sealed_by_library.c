// region: region
// library: sealing
// modes: pie
// degrades: SEALED
// A library installs the filter, through syscall(2).  Code that no region had met by then runs natively, and is counted.
#include <stdio.h>
#include <unistd.h>
int seccomp_load(void *);
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
    char line[100];
    long sum = region(1);
    if (seccomp_load(NULL))
        perror("seccomp_load");
    for (int i = 0; i < 1000; i++)
        sum += region(i);
    write(1, line, snprintf(line, sizeof line, "%ld\n", sum));
    read(0, line, 1); /* while the test reads the counters */
    _exit(0);
}
