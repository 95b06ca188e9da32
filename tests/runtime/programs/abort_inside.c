// region: region
// faults: 1
// not yet: a region that a handler has left by siglongjmp runs natively from then on
// abort is a fault, whatever the program does with SIGABRT: nothing, a handler that returns, or ignoring it.  A handler
// that leaves by siglongjmp keeps doing so.
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
static volatile int memory, handled;
static sigjmp_buf target;
static void returns(int number) {
    (void)number;
    handled++;
}
static void jumps(int number) {
    (void)number;
    siglongjmp(target, 1);
}
__attribute__((noipa)) int region(int n) {
    memory = n;
    if (n >= 0)
        abort();
    return 7;
}
int main(void) {
    for (int i = 0; i < 12; i++) {
        memory = -1;
        int way = i % 4, result;
        signal(SIGABRT, way == 0 ? SIG_DFL : way == 1 ? returns : way == 2 ? SIG_IGN : jumps);
        if (way == 3) {
            if (sigsetjmp(target, 1) == 0)
                region(i);
            printf("jumped, %d\n", memory == i);
            continue;
        }
        if (ORACLE)
            handled += way == 1, result = -1;
        else
            result = region(i);
        printf("%d %d, handled %d\n", result, memory, handled);
    }
    return 0;
}
