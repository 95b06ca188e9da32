// region: attempt
// options: --guard heap
// modes: pie
// library: takes_blocks
// Outside of regions guarded blocks are blocks as any: other modules free them and make them larger, small misuse that
// used to pass unnoticed goes on to do so, children inherit them, and where there are too many of them the program's own
// allocator gives the rest.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void take(char *), take_by_pointer(char *);
char *enlarge(char *, size_t);
size_t room(char *);
int read_line(char **, size_t *, const char *);

static volatile int sink;

__attribute__((noinline)) int attempt(char *block) {
    char *longer = enlarge(block, 5000);
    longer[4999] = 1;
    take(strcpy(malloc(40), longer));
    char *other = memalign(256, 70);
    if ((uintptr_t)other % 256)
        return -1;
    take_by_pointer(other);
    size_t size = 3;
    char *line = malloc(size);
    const int length = read_line(&line, &size, "a line that is longer than that\n");
    free(line);
    free(longer);
    return length;
}

static void foreign(void) {
    char *block = malloc(20);
    strcpy(block, "twenty bytes");
    block = enlarge(block, 6000);
    printf("%s %d\n", block, room(block) >= 6000);
    take(block);
    take_by_pointer(malloc(77));
    size_t size = 2;
    char *line = malloc(size);
    printf("%d ", read_line(&line, &size, "longer than two\n"));
    printf("%s", line);
    free(line);
    void *place = NULL;
    printf("%d %d\n", posix_memalign(&place, 64, 100), (int)((uintptr_t)place % 64));
    free(place);
    printf("%d\n", posix_memalign(&place, 3, 100) != 0);
    for (size_t bytes = 0; bytes < 3000000; bytes = bytes * 3 + 1) {
        char *zeroes = calloc(bytes, 1);
        for (size_t i = 0; i < bytes; i++)
            sink += zeroes[i];
        free(memset(zeroes, 1, bytes));
    }
    printf("%d %p\n", sink, realloc(malloc(3), 0));
    printf("%d\n", malloc(SIZE_MAX / 2) == NULL && calloc(SIZE_MAX / 2, 4) == NULL);
}

static void careless(void) {
    char *block = malloc(20);
    strcpy(block, "careless");
    ((volatile char *)block)[22] = 1; /* into the slack */
    sink += ((volatile char *)block)[-3] - ((volatile char *)block)[-3];
    free(block);
    sink += ((volatile char *)block)[17] - ((volatile char *)block)[17]; /* what it holds is nobody's business */
}

/* Beyond the page, into the next one and back. */
static void far(void) {
    volatile char *block = memset(malloc(40000), 7, 40000), *behind = malloc(10000);
    for (int i = 0; i < 5000; i += 8)
        sink += block[40000 + i] - block[40000 + i];
    behind[9999] = block[39999];
    printf("%d\n", behind[9999]);
    free((void *)block);
    free((void *)behind);
}

static void children(void) {
    char *block = malloc(200);
    strcpy(block, "inherited");
    fflush(stdout);
    for (int i = 0; i < 3; i++) {
        const pid_t child = fork();
        if (!child) {
            printf("%s ", block);
            strcpy(block, "the child's");
            printf("%s %d\n", block, attempt(strdup("of the child")));
            free(block);
            exit(i);
        }
        int status;
        waitpid(child, &status, 0);
        printf("%d %s\n", WEXITSTATUS(status), block);
    }
    free(block);
}

static void many(void) {
    enum { MANY = 20000 };
    static char *blocks[MANY];
    unsigned sum = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++)
            blocks[i] = memset(malloc(i % 300), i, i % 300);
        for (int i = 0; i < MANY; i += 3)
            blocks[i] = realloc(blocks[i], i % 300 + 50);
        for (int i = 0; i < MANY; i++) {
            for (int k = 0; k < i % 300; k++)
                sum = sum * 31 + (unsigned char)blocks[i][k];
            free(blocks[i]);
        }
    }
    printf("%u\n", sum);
}

/* A module that is loaded, closed and loaded again: where it was, maybe. */
static void loaded(void) {
    char path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 40);
    path[length] = 0;
    char *name = strrchr(path, '/') + 1;
    strcpy(name, "libtakes_blocks.so");
    FILE *from = fopen(path, "rb");
    strcpy(name, "late.so");
    FILE *to = fopen(path, "wb");
    for (int c; (c = getc(from)) != EOF;)
        putc(c, to);
    fclose(from);
    fclose(to);
    for (int i = 0; i < 4; i++) {
        void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
        void (*give)(char *) = (void (*)(char *))dlsym(handle, "take");
        void (*give_by_pointer)(char *) = (void (*)(char *))dlsym(handle, "take_by_pointer");
        char *(*longer)(char *, size_t) = (char *(*)(char *, size_t))dlsym(handle, "enlarge");
        give(malloc(30));
        give_by_pointer(malloc(3000));
        give(longer(malloc(5), 60));
        printf("%d\n", dlclose(handle));
    }
    unlink(path);
}

int main(void) {
    alarm(50);
    loaded();
    foreign();
    careless();
    far();
    for (int i = 0; i < 3; i++)
        printf("%d\n", attempt(strdup("a block of the C library's")));
    children();
    many();
    printf("%d\n", attempt(strdup("one more")));
    return 0;
}
