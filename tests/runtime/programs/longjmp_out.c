// region: region
// A region left by longjmp, many times: marks do not pile up, and later entries work.
#include <setjmp.h>
#include <stdio.h>
static jmp_buf target;
static int depth;
__attribute__((noipa)) int region(int n) {
    depth++;
    if (n == 0)
        longjmp(target, depth);
    return region(n - 1) + 1;
}
int main(void) {
    long sum = 0;
    for (int i = 0; i < 20000; i++) {
        depth = 0;
        int way = setjmp(target);
        if (way == 0)
            region(i % 7);
        sum += way;
    }
    printf("%ld\n", sum);
    return 0;
}
