// region: region
// faults: 1
// options: --strategy end-child
// A forked child ends in the place of the region, with status 1 and without what exit does.  In the parent, and in a process
// whose parent is another program or is gone (a server in the background), the region returns an error.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
static long *volatile nowhere;
static volatile long *shared;
static void at_exit(void) { shared[1]++; }
__attribute__((noipa)) long region(long n) {
    shared[0] = n;
    if (ORACLE && n < 10) {
        shared[0] = 0;
        _exit(1);
    }
    if (ORACLE)
        return shared[0] = 0, -1;
    return *nowhere;
}
static int is_program(pid_t other) { /* does it run this very file? */
    char path[64], a[256] = "", b[256] = "";
    snprintf(path, sizeof path, "/proc/%d/exe", other);
    return readlink(path, a, 255) > 0 && readlink("/proc/self/exe", b, 255) > 0 && !strcmp(a, b);
}
static int child(long n) {
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        long result = region(n);
        shared[2] = result;
        _exit(7);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
}
int main(void) {
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    atexit(at_exit);
    for (long i = 1; i < 4; i++)
        printf("%x %ld %ld\n", child(i), shared[0], shared[1]);
    printf("%ld\n", region(10));
    fflush(stdout);
    int ends[2];
    if (pipe(ends))
        return 1;
    const pid_t between = fork();
    if (between == 0 && fork())
        _exit(0);
    if (between == 0) { /* in the background: the parent goes, and another program takes its place */
        alarm(20);
        for (int i = 0; i < 5000 && is_program(getppid()); i++)
            usleep(1000);
        long result = region(11);
        result = result * 1000 + child(5); /* its own children end */
        if (write(ends[1], &result, sizeof result) < 0)
            return 1;
        _exit(0);
    }
    waitpid(between, NULL, 0);
    close(ends[1]);
    long result = 0;
    if (read(ends[0], &result, sizeof result) < 0)
        return 1;
    printf("%ld\n", result);
    fflush(stdout);
    return 0;
}
