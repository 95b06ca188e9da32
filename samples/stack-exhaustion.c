/* Recurses until the stack is used up, like a parser on deeply nested input.  Every level returns an error that its
 * caller passes on, so that any of them may be the one to fail; what is kept is written after the descent. */
#include "sample.h"

void prepare(void) {}

__attribute__((noinline)) int descend(const char *record, long depth) {
    volatile char frame[400];
    if (!*record || depth < 0)
        return REFUSED;
    frame[depth % 400] = record[0];
    if (depth > 20 && !is_bad(record))
        return (int)depth;
    int inner = descend(record, depth + 1);
    if (inner < 0)
        return REFUSED;
    return inner + (frame[depth % 400] == record[0]);
}

int process(const char *record) {
    int depth = descend(record, 0);
    if (depth < 0)
        return REFUSED;
    note(record);
    return depth;
}
