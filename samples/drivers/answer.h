/* How a driver answers one record: `record: value state checksum`, or `refused` for the value. */
#ifndef ANSWER_H
#define ANSWER_H

#include "sample.h"

#include <inttypes.h>
#include <stdio.h>

static inline void answer(const char *record, char *text, size_t size) {
    int value = process(record);
    if (value < 0)
        snprintf(text, size, "%s: refused state %016" PRIx64 "\n", record, state_checksum());
    else
        snprintf(text, size, "%s: %d state %016" PRIx64 "\n", record, value, state_checksum());
}

#endif
