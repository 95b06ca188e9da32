/* Has its own error handling by longjmp, within the region, and faults after it. */
#include "sample.h"

#include <setjmp.h>

static jmp_buf back;
static int failures;

void prepare(void) {}

__attribute__((noinline)) static void check(const char *record, int depth) {
    if (depth > 0)
        check(record + 1, depth - 1);
    if (record[0] < 'n')
        longjmp(back, depth + 1);
    failures--;
}

int process(const char *record) {
    volatile int caught = 0;
    if (strlen(record) < 4)
        return REFUSED;
    note(record);
    int depth = setjmp(back);
    if (depth == 0)
        check(record, 3);
    else
        caught = depth;
    failures += caught;
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    return value_of(record) + (*word & 1) + failures;
}
