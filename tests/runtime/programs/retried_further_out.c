// A loop two regions further out than the fault: what it calls is entered anew each time, so only the region with the
// loop ends it.  What the call reads does not count as input where it reads the same again, or nothing any more.
// regions: parse item all
// faults: 1
// rescues: parse=65600 item=0 all=2
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static volatile long zero;
static volatile int done;

__attribute__((noinline)) void parse(int fd) {
    char byte;
    ssize_t count = read(fd, &byte, 1);
    done += (int)(12 / (count > 1 ? 1 : zero));
}

__attribute__((noinline)) void item(int fd) {
    parse(fd);
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) int all(int fd) {
    if (ORACLE)
        return -1;
    while (!done)
        item(fd);
    return 0;
}

int main(void) {
    int pipes[2];
    alarm(50);
    printf("file %d\n", all(open("/proc/self/exe", O_RDONLY)));
    pipe(pipes);
    close(pipes[1]);
    printf("pipe %d, done %d\n", all(pipes[0]), done);
    return 0;
}
