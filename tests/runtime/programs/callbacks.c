// region: compare find once visit object last recurse even odd
// faults: 1
// The library calls regions back, which fault there; regions call themselves and each other.
#define _GNU_SOURCE
#include <ftw.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static volatile int zero;
static long calls, good;
static volatile int result;
static int bad(int fails) { return fails ? (result = 100 / zero) : 0; }
/* What must have happened is: nothing, and an error. */
#define REGION(type, name, parameters, fails, ...)                                                                     \
    __attribute__((noipa)) type name parameters {                                                                      \
        if (ORACLE && (fails))                                                                                         \
            return (type)-1;                                                                                           \
        calls++;                                                                                                       \
        bad(fails);                                                                                                    \
        good++;                                                                                                        \
        __VA_ARGS__                                                                                                    \
    }
REGION(int, compare, (const void *a, const void *b), *(const int *)a == 4, return *(const int *)a - *(const int *)b;)
REGION(int, find, (const void *a, const void *b), *(const int *)b == 2, return *(const int *)a - *(const int *)b;)
REGION(long, once, (void), 1, return 0;)
REGION(int, visit, (const char *path, const struct stat *status, int kind, struct FTW *ftw), strstr(path, "self") != 0,
       return strlen(path) < 3;)
REGION(int, object, (struct dl_phdr_info *info, size_t size, void *count), *(int *)count == 1, ++*(int *)count; return 0;)
REGION(long, last, (void), 1, return 0;)
REGION(long, recurse, (long n), n == 0, long r = recurse(n - 1); return r < 0 ? 1 : r * 2 + bad(n == 9);)
long odd(long n);
REGION(long, even, (long n), n == 6, return n ? odd(n - 1) + 1 : 0;)
REGION(long, odd, (long n), n == 3, return even(n - 1) + 1;)
static void at_end(void) { printf("at exit %ld %ld %ld\n", last(), calls, good); }
static void show(const char *what, long value) { printf("%s %ld: %ld %ld\n", what, value, calls, good); }
int main(void) {
    static pthread_once_t control = PTHREAD_ONCE_INIT;
    atexit(at_end);
    for (int round = 0; round < 3; round++) {
        int numbers[] = {5, 4, 3, 1, 9, 2}, key = 5, count = 0;
        qsort(numbers, 6, sizeof *numbers, compare);
        show("qsort", numbers[0] * 10 + numbers[5]);
        int sorted[] = {1, 2, 3, 4, 5};
        show("bsearch", bsearch(&key, sorted, 5, sizeof *sorted, find) != NULL);
        pthread_once(&control, (void (*)(void))once);
        show("once", 0);
        show("nftw", nftw("/proc/self/map_files/.", visit, 4, FTW_PHYS | FTW_ACTIONRETVAL));
        show("objects", dl_iterate_phdr(object, &count));
        show("recurse", recurse(8));
        show("even", even(10));
        show("even", even(4));
        show("even", even(2));
    }
    return 0;
}
