// region: region
// faults: 1
// gives: 9
// exec from a region, by the process and by a forked child, and the ways to end: exit with its handlers, _exit, abort.
// After an exec that fails the region goes on, and a fault is undone.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int zero;
static volatile int memory;
static char *program;
static void at_end(void) {
    printf("at exit: %d\n", memory);
    fflush(stdout);
}
__attribute__((noipa)) int region(int way) {
    char number[12];
    snprintf(number, sizeof number, "%d", way + 100);
    char *command[] = {program, number, NULL};
    memory = way;
    if (way == 0)
        execv("/nowhere/at/all", command);
    if (way == 1)
        execv("/proc/self/exe", command);
    if (way == 2)
        exit(21);
    if (way == 3)
        _exit(22);
    if (way == 4)
        raise(SIGTERM);
    if (way == 5)
        execvp("no-such-program-anywhere", command);
    return way / zero;
}
int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 4096);
    program = argv[0];
    if (argc > 1) {
        int result = ORACLE ? -1 : region(atoi(argv[1]));
        printf("executed anew: %s %d %d\n", argv[1], result, memory);
        fflush(stdout);
        return 9;
    }
    printf("%d\n", ORACLE ? -1 : region(78)); /* children have its context */
    for (int way = 0; way < 6; way++) {
        memory = -5;
        errno = 0;
        int status = 0, result = 0;
        pid_t child = fork();
        if (child == 0) {
            if (way == 2)
                atexit(at_end);
            result = ORACLE && way % 5 == 0 ? -1 : region(way);
            printf("%d returned %d, %d\n", way, result, memory);
            fflush(stdout);
            result = ORACLE ? -1 : region(77);
            _exit(result == -1 ? 33 : 34);
        }
        waitpid(child, &status, 0);
        printf("%d: %x\n", way, status);
        fflush(stdout);
    }
    execv("/proc/self/exe", (char *[]){program, "200", NULL});
    return 1;
}
