// region: region
// faults: 1
// abort is a fault where the program does nothing with SIGABRT, or ignores it.  A handler that leaves by siglongjmp keeps
// doing so.  (One that returns has interrupted the region, which goes on without protection, and dies as it was.)
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
static volatile int memory;
static sigjmp_buf target;
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
        int way = i % 3, result = -1;
        signal(SIGABRT, way == 0 ? SIG_DFL : way == 1 ? SIG_IGN : jumps);
        if (way == 2) {
            if (sigsetjmp(target, 1) == 0)
                region(i);
            printf("jumped, %d\n", memory == i);
            continue;
        }
        if (!ORACLE)
            result = region(i);
        printf("%d %d\n", result, memory);
    }
    return 0;
}
