/* What must hold of decode() for any bytes: the target of a fuzzer, and of the replay of what it found.
 *
 * Input: one byte (even: 64-bit mode, odd: 32-bit mode), then code.  Every copy of code ends where its allocation ends,
 * so that the address sanitizer sees each byte that is read beyond `available`.
 *
 *     clang -fsanitize=fuzzer,address,undefined …      fuzz (scripts/fuzz decoder)
 *     cc -DREPLAY -fsanitize=address,undefined …       replay: one input per line of standard input, hexadecimal
 */
#include "decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 15 };
static const uint64_t ADDRESS = 0x7ffffff0, DISTANCE = 0x123456789;

#define MUST(what) ((what) ? (void)0 : fail(#what, code, size, bits))

static void fail(const char *what, const uint8_t *code, size_t size, unsigned bits)
{
    fprintf(stderr, "%u-bit", bits);
    for (size_t i = 0; i < size; i++)
        fprintf(stderr, " %02x", code[i]);
    fprintf(stderr, ": does not hold: %s\n", what);
    abort();
}

/* decode() of a copy of which nothing behind may be read. */
static bool decode_exactly(const uint8_t *code, size_t available, uint64_t address, unsigned bits,
                           struct instruction *out)
{
    uint8_t *copy = malloc(available ? available : 1);
    if (available)
        memcpy(copy, code, available);
    memset(out, 0, sizeof *out);
    bool valid = decode(available ? copy : copy + 1, (unsigned)available, address, bits, out);
    free(copy);
    return valid;
}

static bool is_register(uint8_t number, unsigned most)
{
    return number == REG_NONE || number < most;
}

static bool in_order(uint8_t offset, uint8_t size, uint8_t from, uint8_t length)
{
    return offset ? size && offset >= from && offset + size <= length : !size;
}

static void check_parts(const struct instruction *one, const uint8_t *code, size_t size, unsigned bits)
{
    uint8_t length = one->length, behind = (uint8_t)(one->opcode_offset + 1);
    MUST(one->opcode_offset < length);
    MUST(!one->modrm_offset || one->modrm_offset == behind);
    MUST(one->rex ? one->rex_offset < one->opcode_offset && code[one->rex_offset] == one->rex : !one->rex_offset);
    MUST(bits == 64 || !one->rex);
    MUST(one->displacement_size != 3 && one->displacement_size <= 8);
    MUST(in_order(one->displacement_offset, one->displacement_size, behind, length));
    MUST(in_order(one->immediate_offset, one->immediate_size, behind, length));
    MUST(!one->displacement_offset || !one->immediate_offset
         || one->displacement_offset + one->displacement_size <= one->immediate_offset);
}

static void check_meaning(const struct instruction *one, const uint8_t *code, size_t size, unsigned bits)
{
    unsigned registers = bits == 64 ? 16 : 8;
    MUST(one->flow <= FLOW_FAR && one->stack <= STACK_LOADED && one->memory <= MEMORY_OTHER && one->access <= 3);
    MUST(is_register(one->base, registers));
    MUST(is_register(one->index, one->memory == MEMORY_VECTOR ? 32 : registers));
    MUST(one->scale == 1 || one->scale == 2 || one->scale == 4 || one->scale == 8);
    MUST(one->index != REG_NONE || one->scale == 1);
    MUST(bits == 64 || (!(one->reads >> 8) && !(one->writes >> 8) && !one->rip_relative));
    MUST(!one->rip_relative || (one->base == REG_NONE && one->index == REG_NONE));
    MUST(bits == 32 || !one->segment || one->segment == 0x64 || one->segment == 0x65);
    MUST(one->memory != MEMORY_NONE || one->access == ACCESS_NONE);
    MUST(!one->lock || one->access == ACCESS_READ_WRITE);
    MUST(!one->repeat || one->memory == MEMORY_STRING);
}

static bool has_target(const struct instruction *one)
{
    return one->flow == FLOW_JUMP || one->flow == FLOW_BRANCH || one->flow == FLOW_LOOP || one->flow == FLOW_CALL;
}

/* The same instruction elsewhere, with more or other bytes behind it, and with fewer than it has. */
static void check_surroundings(const struct instruction *one, const uint8_t *code, size_t size, unsigned bits)
{
    struct instruction other;
    uint64_t mask = bits == 64 ? ~(uint64_t)0 : 0xffffffff;
    for (size_t available = 0; available < one->length; available++)
        MUST(!decode_exactly(code, available, ADDRESS, bits, &other));
    MUST(decode_exactly(code, one->length, ADDRESS, bits, &other) && !memcmp(&other, one, sizeof other));
    MUST(decode_exactly(code, one->length, ADDRESS + DISTANCE, bits, &other));
    if (has_target(one)) {
        MUST(one->target == ((ADDRESS + one->length + (uint64_t)one->immediate) & mask));
        MUST(other.target == ((one->target + DISTANCE) & mask));
        other.target = one->target;
    }
    MUST(other.flow == FLOW_TRANSACTION || !memcmp(&other, one, sizeof other));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 64)
        return -1;
    unsigned bits = data[0] & 1 ? 32 : 64;
    const uint8_t *code = data + 1;
    size--;
    struct instruction one;
    if (!decode_exactly(code, size, ADDRESS, bits, &one)) {
        struct instruction shorter;
        for (size_t available = 0; available < size; available++)
            MUST(!decode_exactly(code, available, ADDRESS, bits, &shorter) || size > LONGEST);
        return 0;
    }
    MUST(one.length >= 1 && one.length <= LONGEST && one.length <= size);
    check_parts(&one, code, size, bits);
    check_meaning(&one, code, size, bits);
    check_surroundings(&one, code, size, bits);
    return 0;
}

#ifdef REPLAY
int main(void)
{
    char line[256];
    unsigned count = 0;
    while (fgets(line, sizeof line, stdin)) {
        uint8_t *data = malloc(sizeof line);
        size_t size = 0;
        while (sscanf(line + 2 * size, "%2hhx", &data[size]) == 1)
            size++;
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        count++;
    }
    printf("%u\n", count);
    return 0;
}
#endif
