// region: region
// fork, vfork and posix_spawn inside a region: parent and child both go on, and the child's exec is its own.
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static int memory;
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
    } else if ((child = vfork()) == 0) {
        execvp("sh", command);
        _exit(1);
    }
    waitpid(child, &status, 0);
    return WEXITSTATUS(status) * 100 + memory;
}
int main(void) {
    for (int i = 0; i < 30; i++)
        printf("%d\n", region(i % 3));
    return 0;
}
