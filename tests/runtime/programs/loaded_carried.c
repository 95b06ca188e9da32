// region: region
// carried: 1
// modes: pie
// Mappings and libraries given back inside a region, and libraries that come after them, are no reason to leave it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/mman.h>
__attribute__((noipa)) double region(int rounds) {
    double sum = 0;
    for (int i = 0; i < rounds; i++) {
        char *block = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        block[i] = (char)i;
        munmap(block, 1 << 16);
        void *handle = dlopen(i % 2 ? "libm.so.6" : "libutil.so.1", RTLD_NOW);
        double (*call)(double) = i % 2 ? (double (*)(double))dlsym(handle, "cbrt") : NULL;
        sum += call ? call(i + 0.5) : handle != NULL;
        dlclose(handle);
    }
    return sum;
}
int main(void) {
    printf("%.6f\n", region(9));
    fflush(stdout);
    getchar();
    return 0;
}
