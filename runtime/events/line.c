#include "events/line.h"

void put(struct line *line, const char *text) {
    while (*text && line->length < sizeof line->text - 1)
        line->text[line->length++] = *text++;
}

void put_hex(struct line *line, uint64_t value) {
    int digits = 1;
    while (digits < 16 && value >> 4 * digits)
        digits++;
    while (digits-- > 0) {
        char digit[2] = {"0123456789abcdef"[value >> 4 * digits & 15], 0};
        put(line, digit);
    }
}

void put_number(struct line *line, int64_t value, unsigned width) {
    char digits[24];
    unsigned count = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        digits[count++] = (char)('0' + rest % 10);
    while ((rest /= 10) || count < width);
    if (value < 0)
        put(line, "-");
    while (count) {
        char digit[2] = {digits[--count], 0};
        put(line, digit);
    }
}
