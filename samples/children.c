/* Forks, spawns (vfork) and waits before the fault; the forked child writes to its own copy of the state. */
#include "sample.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void prepare(void) {}

int process(const char *record) {
    int status = 0, sum = 0;
    if (!*record)
        return REFUSED;
    note(record);
    pid_t child = fork();
    if (child == 0) {
        note("in the child");
        _exit(state.accepted % 50);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return REFUSED;
    sum += status;
    char *arguments[] = {"true", NULL};
    if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) || waitpid(child, &status, 0) != child)
        return REFUSED;
    sum += status;
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    return value_of(record) + (*word & 1) + sum;
}
