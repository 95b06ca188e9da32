// A rescue sets errno and writes through the function's pointer arguments, whatever the function has done to the
// argument registers, and to what they point to, in between.  A rescue further out takes that back too.
// regions: lookup outer
// faults: 1
// rescues: lookup=3 outer=1
// options: --errno ENOENT --out 1:8=0 --out 2+4:2=-2 --out 5:1=0x7f
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct result {
    int before;
    short code;
    short behind;
};

static volatile long zero;
long found = 7;

__attribute__((noinline)) int lookup(const char *name, long *value, struct result *result, int *none, int *odd, char *mark) {
    if (ORACLE) {
        errno = ENOENT;
        if (value)
            *value = 0;
        if (result)
            result->code = -2;
        if (mark)
            *mark = 0x7f;
        return -1;
    }
    errno = EIO;
    if (value)
        *value = strlen(name);
    if (result)
        memset(result, 0x55, sizeof *result);
    if (odd)
        *odd = 3;
    if (mark)
        *mark = 2;
    value = NULL;
    __asm__ volatile("xor %%esi, %%esi; xor %%edx, %%edx; xor %%r9d, %%r9d" ::: "rsi", "rdx", "r9");
    return 10 / zero + *name;
}

__attribute__((noinline)) int outer(int times) {
    if (ORACLE)
        return errno = ENOENT, -1;
    errno = EBADF;
    if (lookup("name", &found, NULL, NULL, NULL, NULL) != -1 || found != 0 || errno != ENOENT)
        return 0;
    return times / zero;
}

int main(void) {
    long value = 5;
    int odd = 4;
    char mark[3] = {1, 1, 1};
    struct result result = {1, 2, 3};
    errno = 0;
    int returned = lookup("something", &value, &result, NULL, &odd, &mark[1]), error = errno;
    printf("%d errno %d value %ld result %d %d %d odd %d mark %d %d %d\n", returned, error, value, result.before,
           result.code, result.behind, odd, mark[0], mark[1], mark[2]);
    errno = 0;
    returned = lookup("nothing wanted", NULL, NULL, NULL, NULL, NULL), error = errno;
    printf("%d errno %d\n", returned, error);
    errno = 0;
    returned = outer(3), error = errno;
    printf("%d errno %d found %ld\n", returned, error, found);
    return 0;
}
