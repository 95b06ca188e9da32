// region: region
// faults: 1
// What a region did to its process besides memory is undone too: mappings, descriptors, offsets, signal mask, break.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static int file;
static char *mapped;
__attribute__((noipa)) int region(volatile int *bad) {
    char buffer[64];
    sigset_t set;
    if (read(file, buffer, 40) != 40 || open("/dev/null", O_RDONLY) < 0)
        return 5;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    munmap(mapped, 4096);
    mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sbrk(8192);
    return *bad;
}
static int mappings(void) {
    int lines = 0, c;
    FILE *maps = fopen("/proc/self/maps", "r");
    while ((c = getc(maps)) != EOF)
        lines += c == '\n';
    fclose(maps);
    return lines;
}
int main(int argc, char **argv) {
    (void)argc;
    file = open(argv[0], O_RDONLY);
    mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(mapped, "still here");
    if (!ORACLE)
        region(NULL); /* the first time maps the code cache */
    mappings();
    int before = mappings();
    void *end = sbrk(0);
    int result = ORACLE ? -1 : region(NULL);
    sigset_t set;
    sigprocmask(SIG_BLOCK, NULL, &set);
    int next = dup(0);
    printf("%d: offset %ld, %s, next descriptor %d, USR1 %s, break %s, mappings %s\n", result,
           (long)lseek(file, 0, SEEK_CUR), mapped, next, sigismember(&set, SIGUSR1) ? "blocked" : "free",
           sbrk(0) == end ? "as before" : "moved", mappings() == before ? "as before" : "changed");
    return 0;
}
