// Ten thousand bad requests in one entry of the region around are rescued one by one, however alike they are: a server
// that reads them, and loops whose only progress is a number in a register, on the stack, in memory, a pointer.
// regions: handle serve
// faults: 1
// rescues: handle=50000 serve=0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REQUESTS = 10000, LENGTH = 16 };

static volatile long zero;
int cursor;
char records[REQUESTS];

__attribute__((noinline)) int handle(const char *request) {
    if (*request != 'b')
        return 0;
    return ORACLE ? -1 : LENGTH / zero;
}

__attribute__((noinline)) int serve(int fd, char *bad) {
    char request[LENGTH];
    int rejected = 0, in_register = 0;
    while (read(fd, request, LENGTH) == LENGTH)
        rejected += handle(request) < 0;
    for (int i = 0; i < REQUESTS; i++)
        in_register += handle(bad) < 0;
    volatile int on_stack = 0;
    while (on_stack < REQUESTS) {
        if (handle(bad) == 0)
            return -1;
        on_stack++;
    }
    for (cursor = 0; cursor < REQUESTS; cursor++)
        if (handle(bad) == 0)
            return -1;
    int by_pointer = 0;
    for (const char *record = records; record < records + REQUESTS; record++)
        by_pointer += handle(record) < 0;
    printf("%d %d %d %d %d\n", rejected, in_register, on_stack, cursor, by_pointer);
    return 0;
}

int main(void) {
    int ends[2];
    alarm(50);
    memset(records, 'b', sizeof records);
    if (pipe(ends))
        return 2;
    pid_t client = fork();
    if (client == 0) {
        char request[LENGTH] = "bad";
        close(ends[0]);
        for (int i = 0; i < REQUESTS; i++)
            if (write(ends[1], request, LENGTH) != LENGTH)
                _exit(1);
        _exit(0);
    }
    close(ends[1]);
    int result = serve(ends[0], "bad");
    waitpid(client, NULL, 0);
    printf("%d\n", result);
    return 0;
}
