// regions: region outer inner
// faults: 1
// carried: 1
// A region fills memory that it has got itself, many times what the undo log holds, until there is no more, and uses the
// null pointer.  It is undone: the memory is there again, and what it had before it took more is as it was.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
enum { BLOCKS = 100000 };
static volatile int zero;
static char *blocks[BLOCKS], *own;
static long takes;
/* Of many sizes: above what the allocator asks the system for by itself, and below. */
__attribute__((noipa)) int region(size_t size) {
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = ORACLE && i == 300 ? NULL : malloc(size);
        if (ORACLE && !blocks[i]) {
            while (i--)
                free(blocks[i]);
            return -1;
        }
        memset(blocks[i], 'k', size);
        blocks[i][size / 2]++;
        own[(size_t)i * 64 % 65536]++;
        takes++;
    }
    return 0;
}
__attribute__((noipa)) static int has_room(void) {
    char *large = mmap(NULL, 96 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (large == MAP_FAILED)
        return 0;
    const int clean = !large[0] && !large[90 << 20];
    munmap(large, 96 << 20);
    return clean;
}
/* What one region has got is nothing new to another that it calls: there what is written is undone. */
__attribute__((noipa)) int inner(char *block, size_t size) {
    if (ORACLE)
        return -1;
    memset(block, 'i', size);
    block[size - 1] = 'j';
    return (int)size / zero;
}
__attribute__((noipa)) int outer(size_t size) {
    char *block = malloc(size), *more;
    memset(block, 'o', size);
    int result = inner(block, size);
    for (size_t i = 0; i < size; i++)
        result += block[i] == 'o';
    more = realloc(block, 2 * size);
    result += inner(more, size);
    for (size_t i = 0; i < size; i++)
        result += more[i] == 'o';
    free(more);
    return result;
}
int main(int argc, char **argv) {
    struct rlimit most;
    (void)argc;
    getrlimit(RLIMIT_AS, &most);
    if (!ORACLE && most.rlim_cur != 512u << 20) { /* there when the program starts, as a supervisor sets it */
        most.rlim_cur = most.rlim_max = 512u << 20;
        setrlimit(RLIMIT_AS, &most);
        execv("/proc/self/exe", argv);
    }
    alarm(50);
    own = malloc(65536);
    memset(own, 'o', 65536);
    for (int round = 0; round < 1; round++) {
        const size_t sizes[] = {1 << 20, 100000, 30000};
        for (int i = 0; i < 3; i++) {
            const int result = region(sizes[i]);
            if (ORACLE)
                memset(own, 'o', 65536), memset(blocks, 0, sizeof blocks), takes = 0;
            int same = 1;
            for (int k = 0; k < 65536; k++)
                same &= own[k] == 'o';
            printf("%d: %d %d %d; ", (int)sizes[i], result, same, has_room());
            printf("%s, %ld; ", blocks[0] ? "kept" : "nothing kept", takes);
        }
    }
    printf("%d %d\n", outer(1 << 20), outer(5000));
    fflush(stdout);
    getchar();
    return 0;
}
