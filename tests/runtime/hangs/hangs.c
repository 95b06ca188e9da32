// Hangs of different kinds, by the first argument; each function knows an error, and so does its caller.
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

long spin(long n, volatile long *end);
static volatile long end, sink;
static volatile char much[128 << 20];
#define FUNCTION __attribute__((noipa)) long

FUNCTION inner(long n) {
    if (n < 0)
        return -1;
    while (n && !end)
        sink++;
    return 5;
}

FUNCTION quick(long n) {
    for (long i = 0; i < 100; i++)
        sink += i;
    return n + 1;
}

FUNCTION around(long n) {
    if (n < 0)
        return -1;
    while (n && !end)
        sink += quick(n);
    return 6;
}

FUNCTION library(long n) {
    if (n < 0)
        return -1;
    if (n)
        sink = spin(n, &end);
    return 7;
}

FUNCTION recursion(long n) {
    if (n < 0)
        return -1;
    return n > 60 ? 1 : recursion(n + 1) + recursion(n + 1);
}

// Comes away from an error only to do the same again, or to write more than the log holds; or takes its time.
FUNCTION outer(const char *how) {
    if (!strcmp(how, "again"))
        while (inner(1) < 0)
            ;
    if (!strncmp(how, "fills", 5)) {
        inner(!strcmp(how, "fills"));
        for (long i = 0; i < (long)sizeof much; i += 64)
            much[i] = 1;
    }
    if (!strcmp(how, "slow"))
        for (clock_t begin = clock(); clock() - begin < CLOCKS_PER_SEC * 3 / 2;)
            sink++;
    return inner(!strcmp(how, "itself")) < 0 ? -1 : 8;
}

FUNCTION twice(const char *how) { // a net around outer
    const long result = outer(how);
    if (result < 0)
        return -1;
    return result + quick(0);
}

int main(int count, char **arguments) {
    const char *how = arguments[1];
    alarm(60);
    if (!strcmp(how, "main"))
        while (!end)
            sink++;
    if (!strcmp(how, "itself"))
        printf("inner %s\n", twice(how) < 0 ? "gave up" : "went on");
    else if (!strcmp(how, "again") || !strcmp(how, "fills"))
        printf("outer %s\n", twice(how) < 0 ? "gave up" : "went on");
    else if (!strcmp(how, "around"))
        printf("around %s\n", around(1) < 0 ? "gave up" : "went on");
    else if (!strcmp(how, "library"))
        printf("library %s\n", library(1) < 0 ? "gave up" : "went on");
    else if (!strcmp(how, "recursion"))
        printf("recursion %s\n", recursion(0) < 0 ? "gave up" : "went on");
    else
        printf("%ld %ld %ld %ld\n", twice(how), around(0), library(0), recursion(50));
    return 0;
}
