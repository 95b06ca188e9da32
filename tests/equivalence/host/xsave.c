/* The processor's extended state in the standard format of xsave. */
#include <cpuid.h>
#include <stdbool.h>
#include <string.h>

#include "machine.h"

enum { LEGACY_MXCSR = 24, LEGACY_X87 = 32, LEGACY_XMM = 160, LEGACY_END = 416, HEADER = 512 };
enum { X87, SSE, AVX, OPMASK = 5, ZMM_HIGH = 6, ZMM_MORE = 7, COMPONENTS = 8 };
#define WANTED 0xe7u /* what a case may use: all but protection keys, MPX, tiles */

unsigned xsave_used;
static unsigned offset_of[COMPONENTS], size_of[COMPONENTS];

void xsave_prepare(void) {
    uint32_t a, b, c, d, low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    xsave_mask = low & WANTED;
    xsave_used = HEADER + 64;
    for (unsigned i = AVX; i < COMPONENTS; i++) {
        if (!(xsave_mask >> i & 1))
            continue;
        __cpuid_count(13, i, a, b, c, d);
        size_of[i] = a;
        offset_of[i] = b;
        if (a + b > xsave_used)
            xsave_used = a + b;
    }
}

void xsave_normalize(uint8_t *area) {
    uint64_t present;
    memcpy(&present, area + HEADER, 8);
    if (!(present >> X87 & 1)) {
        memset(area, 0, LEGACY_MXCSR);
        area[0] = 0x7f;
        area[1] = 0x03;
        memset(area + LEGACY_X87, 0, LEGACY_XMM - LEGACY_X87);
    }
    if (!(present >> SSE & 1))
        memset(area + LEGACY_XMM, 0, LEGACY_END - LEGACY_XMM);
    for (unsigned i = AVX; i < COMPONENTS; i++)
        if (!(present >> i & 1))
            memset(area + offset_of[i], 0, size_of[i]);
}

/* The bytes of a vector register from `offset` (a multiple of 4) on, up to the next multiple of 16; where the processor
 * has none such, bytes that nobody reads. */
uint8_t *vector_bytes(uint8_t *area, unsigned number, unsigned offset) {
    static uint8_t nowhere[64];
    if (number >= 16)
        return size_of[ZMM_MORE] ? area + offset_of[ZMM_MORE] + (number - 16) * 64 + offset : nowhere;
    if (offset < 16)
        return area + LEGACY_XMM + number * 16 + offset;
    if (offset < 32)
        return size_of[AVX] ? area + offset_of[AVX] + number * 16 + offset - 16 : nowhere;
    return size_of[ZMM_HIGH] ? area + offset_of[ZMM_HIGH] + number * 32 + offset - 32 : nowhere;
}

static void fill(uint8_t *to, unsigned size) {
    for (unsigned i = 0; i < size; i += 8) {
        const uint64_t word = next_random();
        memcpy(to + i, &word, 8);
    }
}

/* Numbers as often as bits, so that arithmetic has something to do. */
static void fill_numbers(uint8_t *to, unsigned size) {
    const unsigned kind = next_random() >> 61;
    for (unsigned i = 0; i < size; i += 8) {
        union {
            float single[2];
            double whole;
            uint64_t bits;
        } word = {.bits = next_random()};
        if (kind < 2)
            word.whole = (double)(int64_t)word.bits / 65536.0;
        else if (kind < 4) {
            word.single[0] = (float)(int32_t)word.bits / 256.0f;
            word.single[1] = (float)(int32_t)(word.bits >> 32) / 256.0f;
        } else if (kind == 4)
            word.bits = 0;
        else if (kind == 5)
            word.bits &= 0x0fff0fff0fff0fffull;
        memcpy(to + i, &word, 8);
    }
}

void xsave_random(uint8_t *area) {
    static const uint16_t precisions[] = {0x000, 0x200, 0x300};
    memset(area, 0, HEADER + 64);
    const uint64_t bits = next_random();
    /* Control word: exceptions masked, mostly; status word with a random top of stack and random conditions. */
    const uint16_t control =
        (uint16_t)(0x40 | (bits & 7 ? 0x3f : bits >> 3 & 0x3f) | precisions[(bits >> 9) % 3] | (bits >> 12 & 0xc00));
    const uint16_t status = (uint16_t)(bits >> 24 & (bits & 0x700 ? 0x7f00 & ~0x8000 : 0x7f7f));
    memcpy(area, &control, 2);
    memcpy(area + 2, &status, 2);
    area[4] = bits & 1 ? 0xff : (uint8_t)(bits >> 40);
    for (unsigned i = 0; i < 8; i++) {
        uint8_t *number = area + LEGACY_X87 + 16 * i;
        fill(number, 8);
        number[7] |= 0x80; /* the integer bit */
        const uint16_t exponent = (uint16_t)(0x3fff + (int)(next_random() >> 58) - 32) | (uint16_t)(next_random() & 0x8000);
        memcpy(number + 8, &exponent, 2);
        if (next_random() >> 60 == 0)
            fill(number, 8);
    }
    const uint32_t mxcsr = (bits >> 48 & 15 ? 0x1f80 : (uint32_t)(bits >> 16) & 0x1f80) | ((uint32_t)(bits >> 32) & 0xe07f);
    memcpy(area + LEGACY_MXCSR, &mxcsr, 4);
    fill_numbers(area + LEGACY_XMM, LEGACY_END - LEGACY_XMM);
    for (unsigned i = AVX; i < COMPONENTS; i++)
        if (xsave_mask >> i & 1)
            i == OPMASK ? fill(area + offset_of[i], size_of[i]) : fill_numbers(area + offset_of[i], size_of[i]);
    const uint64_t present = xsave_mask & (bits >> 60 ? ~0ull : bits >> 20);
    memcpy(area + HEADER, &present, 8);
}

void fxsave_image(uint8_t *area, const uint8_t *from) {
    memcpy(area, from, HEADER);
}
