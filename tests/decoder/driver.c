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

/* 64-bit FNV-1a of what decides about an instruction: its bytes up to the displacement and the immediate, its length,
 * and whether an immediate shift count is zero. */
static uint64_t head_hash(const uint8_t *code, size_t available, const struct instruction *one)
{
    size_t head = one->length;
    if (one->length == 0)
        head = available < 15 ? available : 15;
    else if (one->displacement_offset)
        head = one->displacement_offset;
    else if (one->immediate_offset)
        head = one->immediate_offset;
    uint64_t hash = 0xcbf29ce484222325u ^ one->length ^ one->flow << 8 ^ (uint64_t)one->flags_written << 32;
    for (size_t i = 0; i < head; i++)
        hash = (hash ^ code[i]) * 0x100000001b3u;
    return hash ^ hash >> 29 ? hash ^ hash >> 29 : 1;
}

struct census {
    uint64_t instructions, invalid, distinct;
};

/* Linear sweep that finds the first occurrence of every instruction up to displacement and immediate.  `table` is an
 * open hash set of 1 << table_bits hashes, zeroed before the first call and kept between calls; offsets of new ones
 * go to `offsets`.  Stops, and returns the offset to go on from, when `offsets` is full; returns `size` at the end. */
size_t take_census(const uint8_t *code, size_t size, size_t at, unsigned bits, uint64_t *table, unsigned table_bits,
                   uint32_t *offsets, size_t capacity, struct census *census)
{
    uint64_t mask = ((uint64_t)1 << table_bits) - 1;
    struct instruction one;
    size_t found = 0;
    while (at < size && found < capacity) {
        size_t left = size - at;
        if (!decode(code + at, left > 64 ? 64 : (unsigned)left, at, bits, &one))
            one.length = 0;
        uint64_t hash = head_hash(code + at, left, &one), slot = hash & mask;
        while (table[slot] && table[slot] != hash)
            slot = (slot + 1) & mask;
        if (!table[slot]) {
            table[slot] = hash;
            offsets[found++] = (uint32_t)at;
        }
        census->invalid += one.length == 0;
        census->instructions += one.length != 0;
        at += one.length ? one.length : 1;
    }
    census->distinct = found;
    return at;
}

size_t record_size(void)
{
    return sizeof(struct instruction);
}
