// options: --region slice_begin..slice_end
// faults: 1
// A slice that holds its loop's own counter would be tried again for ever: it is the function's fault, once nothing has
// changed for long, or only what does not matter.  One that faults often, while something goes on outside of it, in a
// register, in a vector register or in the frame, is no such slice.
#include <stdio.h>
#include <unistd.h>

enum way { NOTHING, STORES, COUNTS, COUNTS_IN_VECTOR, COUNTS_IN_FRAME, COUNTS_ELSEWHERE, WAYS };

static int *volatile nowhere;
static volatile long elsewhere;

__attribute__((noipa)) static long process(enum way way, long end, volatile long *place) {
    long inside = 0, outside = 0, sum = 0;
    double vector = 0;
    volatile long frame = 0;
    do {
        __asm__ volatile(".globl slice_begin\nslice_begin:" : "+r"(inside), "+r"(outside), "+r"(sum), "+x"(vector));
        inside++;
        sum += ORACLE ? 0 : *nowhere;
        __asm__ volatile(".globl slice_end\nslice_end:" : "+r"(inside), "+r"(outside), "+r"(sum), "+x"(vector));
        if (way == STORES)
            *place = 1;
        else if (way == COUNTS)
            outside++;
        else if (way == COUNTS_IN_VECTOR)
            vector += 1;
        else if (way == COUNTS_IN_FRAME)
            frame++;
        else if (way == COUNTS_ELSEWHERE)
            elsewhere++;
    } while ((ORACLE ? 0 : inside) < end && outside < end && vector < (double)end && frame < end && elsewhere < end);
    return 5;
}

int main(void) {
    alarm(50);
    long place = 0;
    for (enum way way = NOTHING; way < WAYS; way++) {
        elsewhere = 0;
        const int ends = way >= COUNTS;
        printf("%d %ld\n", way, ORACLE && !ends ? -1 : process(way, way == COUNTS_IN_FRAME ? 70000 : 1000, &place));
        printf("%ld\n", elsewhere);
    }
    return 0;
}
