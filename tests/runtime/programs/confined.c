// regions: region
// faults: 1
// modes: static
// Confined before its first region: without /proc, with descriptors 0 to 2 closed, in an empty root folder, as another
// user, all of it at once and without any further descriptor.  Each before the program is started, and once it runs.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
enum { OUT = 9 };
static volatile long zero;
static volatile int memory[50];
static int compare(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}
__attribute__((noipa)) long region(long n) {
    int numbers[50];
    for (int i = 0; i < 50; i++)
        numbers[i] = memory[i] = (int)(n * 7919 + i * 104729) % 1000;
    qsort(numbers, 50, sizeof *numbers, compare);
    return n % 2 ? numbers[25] / zero : numbers[25];
}
static long work(void) {
    long sum = 0;
    for (long i = 0; i < 20; i++) {
        memory[7] = (int)-i;
        sum += ORACLE && i % 2 ? -1 : region(i);
        sum += i % 2 && memory[7] != -i ? 1000000 : 0;
    }
    return sum;
}
static void confine(const char *way, int executes) {
    struct rlimit none = {0, 0};
    if (geteuid() && unshare(CLONE_NEWUSER)) /* to be root there */
        return;
    if (!strcmp(way, "no /proc")) {
        if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
            mount("none", "/proc", "tmpfs", 0, NULL);
    } else if (!strcmp(way, "no descriptors")) {
        for (int fd = 0; fd < 3; fd++)
            close(fd);
    } else if (!strcmp(way, "empty root")) {
        if (!executes && chroot("/proc/self/fdinfo") == 0)
            chdir("/");
    } else if (!strcmp(way, "other user")) {
        setgid(65534);
        setuid(65534);
    } else if (!strcmp(way, "all")) {
        for (int fd = 0; fd < 3; fd++)
            close(fd);
        if (!executes && chroot("/proc/self/fdinfo") == 0)
            chdir("/");
        setgid(65534);
        setuid(65534);
        if (!executes)
            setrlimit(RLIMIT_NOFILE, &none);
    }
}
static int report(const char *way) {
    char line[200];
    write(OUT, line, snprintf(line, sizeof line, "%s: %ld\n", way, work()));
    return fcntl(0, F_GETFD) >= 0 != fcntl(2, F_GETFD) >= 0; /* what is closed stays so */
}
int main(int argc, char **argv) {
    static const char *const ways[] = {"no /proc", "no descriptors", "empty root", "other user", "all"};
    if (argc > 1)
        return report(argv[1]);
    dup2(1, OUT);
    int bad = 0;
    int self = open(argv[0], O_RDONLY | O_CLOEXEC);
    for (int executes = 1; executes >= 0; executes--)
        for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
            int status;
            pid_t child = fork();
            if (child == 0) {
                confine(ways[i], executes);
                if (executes)
                    fexecve(self, (char *[]){argv[0], (char *)ways[i], NULL}, (char *[]){NULL});
                _exit(executes ? 99 : report(ways[i]));
            }
            waitpid(child, &status, 0);
            dprintf(OUT, "status %x\n", status);
            bad |= status;
        }
    return bad != 0;
}
