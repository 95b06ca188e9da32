/* A line of text that is made piece by piece and written at once; what does not fit is left out. */
#ifndef STEMRW_LINE_H
#define STEMRW_LINE_H

#include <stdint.h>

struct line {
    char text[512];
    unsigned length;
};

void put(struct line *line, const char *text);
void put_hex(struct line *line, uint64_t value);                   /* without 0x */
void put_number(struct line *line, int64_t value, unsigned width); /* decimal, filled up with zeros */

#endif
