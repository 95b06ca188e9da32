// region: region
// A program that limits its own address space, before or after its first region, has nearly all of what it leaves itself;
// regions run on, and log what they did.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char buffer[1 << 20];

__attribute__((noipa)) long region(int n) {
    long sum = 0;
    memset(buffer, n, sizeof buffer);
    for (size_t i = 0; i < sizeof buffer; i += 4096)
        sum += buffer[i];
    return sum;
}

static int limit(int way) {
    const struct rlimit wish = {512 << 20, 512 << 20};
    return way & 1 ? prlimit(0, RLIMIT_AS, &wish, NULL) : setrlimit(RLIMIT_AS, &wish);
}

static void use(int way) {
    long sum = way & 2 ? region(1) : 0;
    printf("%d ", limit(way));
    sum += way & 4 ? region(2) : 0;
    char *large = malloc(200 << 20), *other = malloc(50 << 20);
    for (size_t i = 0; large && i < 200 << 20; i += 1 << 16)
        sum += large[i] = (char)i + 1;
    printf("%d %d ", large != NULL, other != NULL);
    free(large);
    for (int i = 0; i < 100; i += 10)
        sum += region(i);
    void *too_large = mmap(NULL, 600 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%d %ld\n", too_large == MAP_FAILED, sum);
}

int main(void) {
    alarm(50);
    for (int way = 0; way < 8; way++) {
        fflush(stdout);
        const pid_t child = fork();
        if (!child) {
            use(way);
            exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        printf("%d\n", status);
    }
    return 0;
}
