// region: region
// faults: 1
// Memory shared with another process: a rollback takes back our bytes and leaves its, next to them, alone.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile unsigned char *shared;
__attribute__((noipa)) int region(volatile int *bad) {
    shared[100] = 1;
    shared[0] = 1;          /* the other may go */
    while (shared[1] == 0) /* it has written */
        ;
    return *bad;
}
int main(void) {
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 20; i++) {
        for (int at = 0; at < 200; at++)
            shared[at] = 0;
        pid_t child = fork();
        if (child == 0) {
            while (!ORACLE && shared[0] == 0)
                ;
            shared[101] = 7;
            shared[1] = 1;
            _exit(0);
        }
        int result = ORACLE ? -1 : region(NULL);
        waitpid(child, NULL, 0);
        printf("%d: ours %d %d, its %d %d\n", result, shared[0], shared[100], shared[1], shared[101]);
    }
    return 0;
}
