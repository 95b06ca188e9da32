// region: region
// degrades: LOG_FULL
// More is written than the undo log holds: by stores, by a string instruction, by the kernel.  The result is right.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <fcntl.h>
enum { BYTES = 24 << 20 };
static unsigned char buffer[BYTES];
__attribute__((noipa)) unsigned long region(int way) {
    unsigned long sum = 0;
    if (way == 0)
        for (int i = 0; i < BYTES; i += 8)
            *(volatile long *)(buffer + i) = i * 7919l;
    if (way == 1) {
        unsigned char *to = buffer;
        unsigned long count = BYTES;
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0x5a) : "memory");
    }
    if (way == 2) {
        int zeros = open("/dev/zero", O_RDONLY);
        sum += (unsigned long)read(zeros, buffer, BYTES);
        close(zeros);
    }
    for (int i = 0; i < BYTES; i += 97)
        sum = sum * 31 + buffer[i];
    return sum;
}
int main(int argc, char **argv) {
    if (argc == 1) { /* a small log: from the start */
        struct rlimit limit = {160 << 20, 160 << 20};
        setrlimit(RLIMIT_AS, &limit);
        execv("/proc/self/exe", (char *[]){argv[0], "again", NULL});
    }
    unsigned long sum = 0;
    for (int i = 0; i < 6; i++)
        sum = sum * 33 + region(i % 3);
    printf("%lx\n", sum);
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
