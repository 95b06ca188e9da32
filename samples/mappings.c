/* Maps, unmaps, protects and empties pages before the fault: the old ones are there again, with their content. */
#define _GNU_SOURCE
#include "sample.h"

#include <sys/mman.h>

static uint8_t *page[3];

void prepare(void) {
    for (int i = 0; i < 3; i++) {
        page[i] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page[i] == MAP_FAILED)
            abort();
        memset(page[i], 7 * i + 1, 4096);
    }
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    int sum = page[0][5] + page[1][6] + page[2][7];
    uint8_t *fresh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
        return REFUSED;
    memset(fresh, sum, 4096);
    munmap(page[0], 4096);
    page[0] = fresh;
    madvise(page[1], 4096, MADV_DONTNEED);
    mprotect(page[2], 4096, PROT_READ);
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    sum += *word & 1;
    mprotect(page[2], 4096, PROT_READ | PROT_WRITE);
    memset(page[1], sum & 15, 4096);
    memset(page[2], sum & 31, 4096);
    return value_of(record) + sum;
}
