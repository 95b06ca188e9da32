// region: region
// fork, vfork, posix_spawn, system, popen and clone with shared memory inside a region: parent and child both go on, and
// the child's exec, or end, is its own.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static int memory;
static char stack[65536] __attribute__((aligned(16)));
static int shares(void *argument) {
    memory += 3;
    _exit(*(int *)argument);
}
__attribute__((noipa)) int region(int way) {
    int status = 0;
    pid_t child = -1;
    char *command[] = {"sh", "-c", "exit 7", NULL};
    memory = way;
    if (way == 0) {
        if ((child = fork()) == 0) {
            memory = 99;
            _exit(memory - 90);
        }
    } else if (way == 1) {
        posix_spawnp(&child, "sh", NULL, NULL, command, environ);
    } else if (way == 3) {
        return system("exit 7") + memory;
    } else if (way == 4) {
        char line[20] = "";
        FILE *pipe = popen("echo read; exit 7", "r");
        fgets(line, sizeof line, pipe);
        return pclose(pipe) + memory + line[3];
    } else if (way == 5) {
        int code = 7;
        child = clone(shares, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &code);
    } else if (way == 6) {
        int code = 7;
        child = clone(shares, stack + sizeof stack, CLONE_VM | SIGCHLD, &code);
    } else if ((child = vfork()) == 0) {
        execvp("sh", command);
        _exit(1);
    }
    waitpid(child, &status, 0);
    return WEXITSTATUS(status) * 100 + memory;
}
int main(void) {
    for (int i = 0; i < 28; i++)
        printf("%d\n", region(i % 7));
    return 0;
}
