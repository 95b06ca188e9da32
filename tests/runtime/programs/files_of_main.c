// main is rescued: the program ends, and what it has written stays, as after its death.
// region: main
// faults: 1
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char name[] = "/tmp/stemrw-XXXXXX", text[64] = {0};
    if (argc > 1) {
        const int file = open(argv[1], O_WRONLY);
        write(file, "the first ", 10);
        write(file, "and the second\n", 15);
        return ORACLE ? 255 : *(volatile int *)NULL;
    }
    const int file = mkstemp(name);
    const pid_t child = fork();
    if (!child) {
        execl("/proc/self/exe", argv[0], name, NULL);
        _exit(5);
    }
    int status;
    waitpid(child, &status, 0);
    read(file, text, sizeof text - 1);
    unlink(name);
    printf("%d: %s", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), text);
    return WIFSIGNALED(status) ? 5 : 0;
}
