// region: outer inner keeper leaper
// faults: 1
// setjmp and longjmp within a region, through nested ones, and over frames of the library; a fault after each.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
static jmp_buf native, inside;
static sigjmp_buf with_mask;
static long writes;
static volatile int zero;
static int fault(void) { return 100 / zero; }
__attribute__((noipa)) int inner(int way) {
    writes++;
    if (way == 1)
        longjmp(inside, 1); /* out of this region, into the one that called it */
    if (way == 2)
        longjmp(native, 2); /* out of both */
    if (way == 3)
        return fault();
    if (way == 4)
        siglongjmp(with_mask, 4);
    return way;
}
__attribute__((noipa)) int outer(int way, int then) {
    writes += 100;
    int back = setjmp(inside);
    if (back == 0)
        back = inner(way);
    writes += 10000;
    if (then)
        return fault();
    return back;
}
__attribute__((noipa)) int keeper(int way) { /* jumps back to itself, many times */
    volatile int times = 0;
    setjmp(inside);
    writes++;
    if (times++ < way)
        longjmp(inside, 1);
    return way < 5 ? times : fault();
}
static int comparisons;
static int compare(const void *a, const void *b) {
    if (++comparisons == 5)
        longjmp(native, 5);
    return *(const int *)a - *(const int *)b;
}
__attribute__((noipa)) int leaper(int n) {
    int numbers[] = {5, 4, 3, 2, 1, 0};
    comparisons = n;
    qsort(numbers, 6, sizeof *numbers, compare);
    return numbers[0];
}
static void show(const char *what, int result) { printf("%s %d: %ld\n", what, result, writes); }
int main(void) {
    for (int round = 0; round < 3; round++) {
        int way = setjmp(native);
        if (way == 0)
            show("out of both", outer(2, 0));
        show("jumped", way);
        show("fault in the inner one", ORACLE ? (writes += 10100, -1) : outer(3, 0));
        show("inner to outer", outer(1, 0));
        show("and a fault then", ORACLE ? -1 : outer(1, 1));
        if (!(way = sigsetjmp(with_mask, 1)))
            outer(4, 0);
        show("with mask", way);
        show("itself", keeper(4));
        show("itself, fault", ORACLE ? -1 : keeper(6));
        if (!(way = setjmp(native)))
            leaper(0);
        show("over qsort", way);
        show("no jump", leaper(100));
        show("plain", outer(9, 0));
    }
    return 0;
}
