// region: region
// faults: 1
// A region that has started other programs faults: what it has changed itself is undone, the child lives on.
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static volatile int zero;
static volatile int memory;
static int pipes[2];
static void start(int way) {
    char *command[] = {"sh", "-c", "exit 7", NULL};
    pid_t child = 0;
    if (way == 0)
        posix_spawnp(&child, "sh", NULL, NULL, command, environ);
    else if (way == 1)
        child = system("exit 7") == 7 << 8 ? -1 : 0;
    else if (way == 2)
        pclose(popen("exit 7", "r"));
    else if ((child = vfork()) == 0) {
        memory = 3;
        execvp("sh", command);
        _exit(1);
    }
    write(pipes[1], &child, sizeof child);
}
__attribute__((noipa)) int region(int way) {
    memory = way + 100;
    start(way);
    return memory / zero;
}
int main(void) {
    pipe(pipes);
    for (int i = 0; i < 8; i++) {
        pid_t child;
        int status = 0;
        memory = -1;
        int result = -1;
        if (ORACLE) {
            start(i % 4);
            memory = -1;
        } else {
            result = region(i % 4);
        }
        read(pipes[0], &child, sizeof child);
        if (child > 0)
            waitpid(child, &status, 0);
        printf("%d: %d %d %d\n", i % 4, result, memory, status);
    }
    return 0;
}
