// region: region
// degrades: NO_MEMORY
// More pieces of code than a small code cache holds: the others run natively, at every visit, with the right result.
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
enum { FUNCTIONS = 12000 };
long functions(long);
__asm__(".text\n.balign 16\n.globl functions\nfunctions:\n.set number, 0\n"
        ".rept 12000\n lea number(%rdi), %rax\n ret\n .balign 16\n .set number, number + 1\n.endr");
__attribute__((noipa)) long region(long i) {
    long (*function)(long) = (long (*)(long))((char *)functions + 16 * i);
    return function(i) * 3;
}
int main(int argc, char **argv) {
    if (argc == 1) {
        struct rlimit limit = {64 << 20, 64 << 20};
        setrlimit(RLIMIT_AS, &limit);
        execv("/proc/self/exe", (char *[]){argv[0], "again", NULL});
    }
    unsigned long sum = 0;
    for (int round = 0; round < 2; round++)
        for (long i = 0; i < FUNCTIONS; i++)
            sum = sum * 31 + (unsigned long)region(i);
    printf("%lx\n", sum);
    fflush(stdout);
    getchar(); /* while the test reads the counters */
    return 0;
}
