// region: attempt
// options: --guard heap
// modes: pie
// carried: 1
// library: takes_blocks
// A module that is loaded when there are guarded blocks already gives them back, makes them larger, asks how large they
// are, first of all and without another allocation before: bound at once, bound late, by a pointer in its data, by
// dlsym, natively and in a region.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void take(char *);

enum way { TAKES, TAKES_BY_POINTER, ENLARGES, ASKS, LOOKS_UP, WAYS };

static char *copy_of_library(void) {
    static char path[4096];
    path[readlink("/proc/self/exe", path, sizeof path - 40)] = 0;
    char *name = strrchr(path, '/') + 1, block[4096];
    strcpy(name, "libtakes_blocks.so");
    FILE *from = fopen(path, "rb");
    strcpy(name, "late.so");
    FILE *to = fopen(path, "wb");
    for (size_t count; (count = fread(block, 1, sizeof block, from));)
        fwrite(block, 1, count, to);
    fclose(from);
    fclose(to);
    return path;
}

static int use(const char *path, char *block, enum way way, int binding) {
    void *handle = dlopen(path, binding | RTLD_LOCAL);
    void (*give)(char *) = (void (*)(char *))dlsym(handle, way == TAKES_BY_POINTER ? "take_by_pointer" : "take");
    char *(*longer)(char *, size_t) = (char *(*)(char *, size_t))dlsym(handle, "enlarge");
    size_t (*room)(char *) = (size_t(*)(char *))dlsym(handle, "room");
    int result = 0;
    if (way == TAKES || way == TAKES_BY_POINTER) {
        give(block);
    } else if (way == ENLARGES) {
        block = longer(block, 6000);
        result = block[0] + block[29];
        memset(block, 5, 6000);
        give(block);
    } else if (way == ASKS) {
        result = room(block) >= 30;
        give(block);
    } else {
        ((void (*)(void *))dlsym(RTLD_DEFAULT, "free"))(block);
    }
    return result + dlclose(handle);
}

__attribute__((noinline)) int attempt(const char *path, char *block, enum way way, int binding) {
    return use(path, block, way, binding);
}

int main(void) {
    alarm(50);
    take(strdup("of the C library"));
    char *path = copy_of_library();
    for (enum way way = TAKES; way < WAYS; way++)
        for (int i = 0; i < 4; i++) {
            char *block = memset(malloc(30), 7, 30);
            printf("%d ", (i & 1 ? use : attempt)(path, block, way, i & 2 ? RTLD_NOW : RTLD_LAZY));
        }
    unlink(path);
    printf("\n");
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
