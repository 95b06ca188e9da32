// region: region
// faults: 1
// A process is made inside a region: parent and child both go on in it, and what either of them faults at is undone for
// it alone.  By fork, by clone, and by clone with memory shared (a copy of its own is what vfork's child does not have).
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int zero;
static volatile long memory;
static pid_t child;
__attribute__((noipa)) int region(int way, int child_faults, int parent_faults) {
    memory += 100;
    pid_t made = way ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
    if (made == 0) {
        memory += 7;
        return child_faults ? (int)memory / zero : 5;
    }
    *(volatile pid_t *)&child = made;
    memory += 1;
    return parent_faults ? *(volatile int *)(long)zero : 6;
}
/* What remains of region(). */
static int expected(int way, int child_faults, int parent_faults) {
    pid_t made = way ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
    if (made == 0) {
        memory += child_faults ? 0 : 107;
        return child_faults ? -1 : 5;
    }
    memory += parent_faults ? 0 : 101;
    return parent_faults ? -1 : 6;
}
int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    const pid_t me = getpid();
    for (int i = 0; i < 48; i++) {
        memory = i;
        int result = (ORACLE ? expected : region)(i & 1, i & 2, i & 4);
        if (getpid() != me) { /* the child: has it what it needs for another region, and a child of its own? */
            int first = (int)memory;
            memory = 0;
            int second = (ORACLE ? expected : region)(i & 1, 0, i & 8);
            if (second == 5)
                _exit(0);
            wait(NULL);
            printf("child %d %d, then %d %ld\n", result, first, second, memory);
            exit(result == 5 ? 3 : 4);
        }
        int status;
        waitpid(-1, &status, 0);
        printf("parent %d %ld, child's status %d\n", result, memory, WEXITSTATUS(status));
    }
    return 0;
}
