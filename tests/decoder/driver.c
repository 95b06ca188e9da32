/* What the tests need around decode(): batches, so that ctypes is entered once for many instructions. */
#include "decode.h"

#include <stddef.h>

/* Linear sweep over code[0..size): one record per instruction; a byte that starts none gives a record of length 0. */
size_t sweep(const uint8_t *code, size_t size, uint64_t address, unsigned bits, struct instruction *out, size_t capacity)
{
    size_t count = 0;
    for (size_t at = 0; at < size && count < capacity; count++) {
        size_t left = size - at;
        unsigned available = left > 64 ? 64 : (unsigned)left;
        if (!decode(code + at, available, address + at, bits, &out[count]))
            out[count].length = 0;
        at += out[count].length ? out[count].length : 1;
    }
    return count;
}

/* `count` strings of `stride` bytes each, decoded on their own at address 0x1000 + i * stride. */
void decode_each(const uint8_t *code, unsigned stride, size_t count, unsigned bits, struct instruction *out)
{
    for (size_t i = 0; i < count; i++)
        if (!decode(code + i * stride, stride, 0x1000 + i * stride, bits, &out[i]))
            out[i].length = 0;
}

/* The same sweep without records, for timing: the number of instructions. */
size_t count_instructions(const uint8_t *code, size_t size, unsigned bits)
{
    struct instruction one;
    size_t count = 0;
    for (size_t at = 0; at < size; count++) {
        size_t left = size - at;
        bool valid = decode(code + at, left > 64 ? 64 : (unsigned)left, at, bits, &one);
        at += valid ? one.length : 1;
    }
    return count;
}

size_t record_size(void)
{
    return sizeof(struct instruction);
}
