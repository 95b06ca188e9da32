/* Replaces, frees and allocates memory, small and large, before the fault: the old blocks are there again, the new ones
 * do not leak. */
#include "sample.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

static char *current;
static size_t current_size;

void prepare(void) {
    current = calloc(1, current_size = 1000);
    state.extra = &current_size;
    state.extra_length = sizeof current_size;
}

static long in_use(void) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    struct mallinfo2 info = mallinfo2();
    return (long)((info.uordblks + info.hblkhd) / 4096);
#else
    return 0;
#endif
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    size_t size = 1000 + (size_t)value_of(record) % 500;
    char *next = malloc(size), *large = malloc(1 << 20);
    if (!next || !large)
        return REFUSED;
    memset(large, 1, 1 << 20);
    memset(next, current[0] + 1, size);
    free(current);
    current = next;
    current_size = size;
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    int low = *word & 1;
    free(large);
    return (int)in_use() + low + (unsigned char)current[size - 1];
}
