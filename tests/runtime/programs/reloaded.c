// region: region loads
// modes: pie
// library: constant named
// A library that is closed and another one, which differs in one number (and in its build-id, where it has one), opened
// at the same address; by the program, and inside a region: never executed stale.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef int (*function)(void);
extern int constant(void), named(void);
static void copy(const char *from, const char *to, int number) {
    static char bytes[1 << 20];
    const int original = 0x11223344;
    FILE *file = fopen(from, "r");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    char *at = memmem(bytes, size, &original, sizeof original);
    memcpy(at, &number, sizeof number);
    at = memmem(bytes, size, "\3\0\0\0GNU", 8); /* the build-id follows */
    if (at)
        memcpy(at + 8, &number, sizeof number);
    file = fopen(to, "w");
    fwrite(bytes, 1, size, file);
    fclose(file);
}
__attribute__((noipa)) int region(function call) { return call() + 1; }
__attribute__((noipa)) int loads(const char *name, const char *symbol) {
    void *library = dlopen(name, RTLD_NOW);
    function call = (function)dlsym(library, symbol);
    int value = call();
    dlclose(library);
    return value;
}
static void try(function original, const char *symbol) {
    char folder[] = "/tmp/reloadXXXXXX", names[2][64];
    Dl_info info;
    void *before = NULL;
    int same = 0;
    mkdtemp(folder);
    dladdr((void *)original, &info);
    for (int i = 0; i < 2; i++) {
        snprintf(names[i], sizeof names[i], "%s/%d.so", folder, i);
        copy(info.dli_fname, names[i], 1000 + i);
    }
    printf("%x\n", region(original));
    for (int i = 0; i < 6; i++) {
        void *library = dlopen(names[i & 1], RTLD_NOW), *call = dlsym(library, symbol);
        same += call == before;
        before = call;
        printf("%d %d ", region((function)call), region((function)call));
        dlclose(library);
    }
    printf("%d\n", same > 3);
    for (int i = 0; i < 6; i++)
        printf("%d ", loads(names[i & 1], symbol));
    unlink(names[0]);
    unlink(names[1]);
    rmdir(folder);
    puts("");
}
int main(void) {
    try(constant, "constant");
    try(named, "named");
    return 0;
}
