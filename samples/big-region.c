/* Does much before it faults: copies, sorting with a callback, formatted and buffered output, the allocator. */
#include "sample.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

static char table[64][80];
static char *texts[200];
static double sums[8];

static int by_tail(const void *a, const void *b) {
    const char *left = a, *right = b;
    return strcmp(left + 3, right + 3);
}

void prepare(void) {
    for (int i = 0; i < 200; i++)
        texts[i] = strdup("initial");
    printf("buffered output begins\n");
    fflush(stdout);
    state.extra = table;
    state.extra_length = sizeof table;
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    char *copy = malloc(100000), *bigger;
    if (!copy)
        return REFUSED;
    memset(copy, record[0], 100000);
    bigger = realloc(copy, 300000);
    if (!bigger)
        return REFUSED;
    memmove(bigger + 50000, bigger, 100000);
    for (int i = 0; i < 64; i++)
        snprintf(table[i], sizeof table[i], "%03d %s %.6f %x", i * 37 % 64, record, i / 7.0, bigger[i * 2000] + i);
    qsort(table, 64, sizeof table[0], by_tail);
    for (int i = 0; i < 200; i++) {
        char text[300];
        int length = snprintf(text, sizeof text, "%s-%d-%s", record, i, table[i % 64]);
        free(texts[i]);
        texts[i] = malloc((size_t)length + 1 + (size_t)(i * 31 % 500));
        if (!texts[i])
            return REFUSED;
        memcpy(texts[i], text, (size_t)length + 1);
        for (char *c = texts[i]; *c; c++)
            *c = (char)toupper((unsigned char)*c);
        sums[i % 8] += strtod(table[i % 64] + 4 + strlen(record), NULL) + sqrt(i);
    }
    printf("worked through %s\n", record); /* still in the buffer when the fault comes */
    int low = (int)fmod(sums[3] * 1000, 1000) + texts[7][1];
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    low += *word & 1;
    free(bigger);
    return value_of(record) + low;
}
