// region: region
// An address space limit too small for logs and cache of the usual size.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
static char buffer[1 << 20];
__attribute__((noipa)) long region(int n) {
    long sum = 0;
    memset(buffer, n, sizeof buffer);
    for (size_t i = 0; i < sizeof buffer; i += 4096)
        sum += buffer[i];
    return sum;
}
int main(int argc, char **argv) {
    if (argc == 1) {
        struct rlimit limit = {64 << 20, 64 << 20};
        setrlimit(RLIMIT_AS, &limit);
    }
    (void)argv;
    for (int i = 0; i < 100; i += 10)
        printf("%ld\n", region(i));
    return 0;
}
