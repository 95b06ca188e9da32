// region: attempt
// options: --guard heap
// modes: pie
// faults: 1
// carried: 1
// What a region writes to guarded blocks over and over is logged once: each time, it would be more than the log holds, of which
// there is little under a limit.
// A fault then takes all of it back, at the block's beginning, in its last bytes, and across lines of the cache.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ROUNDS = 2 << 20, SIZE = 5000 };

static int *volatile nowhere;

__attribute__((noipa)) static void write_at(char *at, long value, size_t size) {
    if (size == 1)
        *(volatile char *)at = (char)value;
    else
        memcpy(at, &value, size);
}

__attribute__((noipa)) int attempt(char *large, char *small, int wrong) {
    for (long i = 0; i < ROUNDS; i++) {
        write_at(small + i % 17, i, 1);
        write_at(large + SIZE - 8 - i % 5, i, 8);
        write_at(large + SIZE - 64 - i % 5, i, 8);
        write_at(large + i % 100, i, 1);
    }
    if (wrong && !ORACLE)
        return *nowhere;
    return wrong ? -1 : large[SIZE - 1] + large[17] + small[3];
}

static unsigned sum(const char *bytes, int count) {
    unsigned sum = 0;
    for (int i = 0; i < count; i++)
        sum = sum * 31 + (unsigned char)bytes[i];
    return sum;
}

int main(int argc, char **argv) {
    const struct rlimit limit = {400 << 20, 400 << 20};
    if (argc == 1 && !setrlimit(RLIMIT_AS, &limit))
        return execl("/proc/self/exe", argv[0], "again", NULL);
    alarm(50);
    char *large = malloc(SIZE), *small = malloc(17);
    memset(large, 3, SIZE);
    memset(small, 4, 17);
    const int wrong = ORACLE ? -1 : attempt(large, small, 1);
    const unsigned before = sum(large, SIZE) + sum(small, 17);
    const int right = attempt(large, small, 0);
    printf("%d %u %d %u\n", wrong, before, right, sum(large, SIZE) + sum(small, 17));
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
