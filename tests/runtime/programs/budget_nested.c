// The region over its budget is the one that is left, with all inside of it; what a region without budget uses is its
// caller's; what has used nearly all of it goes on.
// regions: inner middle outer busy
// budget: inner=200000 outer=2000000 busy=1000000
// hangs: 1
#include <stdio.h>
#include <unistd.h>

static volatile long zero, inner_entries, outer_work, kept;
#define REGION __attribute__((noipa))

#if ORACLE
REGION long inner(long n) { return -1; }
REGION long middle(long n) { return -1; }
REGION long outer(long n) { return -1; }
#else
REGION long inner(long n) {
    inner_entries++;
    for (volatile long i = 0; !zero; i++)
        ;
    return n;
}
REGION long middle(long n) { // has no budget
    long sum = 0;
    for (long i = 0; !zero; i++)
        sum += i;
    return sum;
}
REGION long outer(long n) { // comes away from each of the inner ones with an error, and calls the next
    outer_work++;
    if (n)
        return middle(n);
    while (!zero)
        inner(n);
    return 1;
}
#endif

REGION long busy(long n) {
    volatile long sum = 0;
    for (long i = 0; i < n; i++)
        sum += i;
    return sum;
}

int main(void) {
    alarm(60);
    for (int i = 0; i < 3; i++)
        printf("inner %ld\n", inner(5));
    printf("outer %ld, around middle %ld\n", outer(0), outer(1));
    printf("undone: %ld %ld\n", inner_entries, outer_work);
    for (int i = 0; i < 50; i++)
        kept += busy(999999) + busy(10); // each entry has its own
    printf("%ld\n", kept);
    return 0;
}
