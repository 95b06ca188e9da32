// region: region
// modes: pie
// Libraries loaded and unloaded inside a region.
#include <dlfcn.h>
#include <stdio.h>
__attribute__((noipa)) double region(const char *library, const char *function) {
    void *handle = dlopen(library, RTLD_NOW);
    if (!handle)
        return -1;
    double (*call)(double) = (double (*)(double))dlsym(handle, function);
    double result = call ? call(0.5) : -2;
    dlclose(handle);
    return result;
}
int main(void) {
    for (int i = 0; i < 5; i++)
        printf("%.6f %.6f\n", region("libm.so.6", "sin"), region("libm.so.6", "exp"));
    return 0;
}
