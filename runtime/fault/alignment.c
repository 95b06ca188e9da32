#include "fault/alignment.h"

enum { VEX2 = 2, VEX3 = 3, EVEX = 4, XOP = 5, SSE_BYTES = 16, MISALIGNED_MODE = 1 << 17 };
enum map { MAP_OTHER, MAP_0F, MAP_0F38, MAP_0F3A };

struct encoding {
    unsigned map;
    uint8_t prefix; /* the mandatory one: 0, 66, f3, f2 */
    uint8_t opcode;
};

static uint8_t legacy_prefix(const struct instruction *at, const uint8_t *bytes) {
    uint8_t found = 0; /* f3 and f2 go before 66 */
    for (unsigned i = 0; i < at->opcode_offset; i++)
        if (bytes[i] == 0xf3 || bytes[i] == 0xf2 || (bytes[i] == 0x66 && !found))
            found = bytes[i];
    return found;
}

static struct encoding encoding_of(const struct instruction *at, const uint8_t *bytes) {
    const uint8_t *opcode = bytes + at->opcode_offset;
    uint8_t fields;
    unsigned map = MAP_0F;
    if (!at->vex) {
        if (at->opcode_offset < 1)
            return (struct encoding){.opcode = *opcode};
        const bool three = at->opcode_offset >= 2 && opcode[-2] == 0x0f;
        map = opcode[-1] == 0x0f            ? MAP_0F
              : three && opcode[-1] == 0x38 ? MAP_0F38
              : three && opcode[-1] == 0x3a ? MAP_0F3A
                                            : MAP_OTHER;
        return (struct encoding){map, legacy_prefix(at, bytes), *opcode};
    }
    fields = at->vex == EVEX ? opcode[-2] : opcode[-1];
    if (at->vex != VEX2)
        map = (at->vex == EVEX ? opcode[-3] : opcode[-2]) & (at->vex == EVEX ? 7 : 31);
    const unsigned mandatory = fields & 3;
    return (struct encoding){at->vex == XOP ? (unsigned)MAP_OTHER : map,
                             mandatory == 1   ? 0x66
                             : mandatory == 2 ? 0xf3
                             : mandatory == 3 ? 0xf2
                                              : 0,
                             *opcode};
}

/* movups, movupd, movdqu, lddqu, pcmpestrm … pcmpistri: the others of 16 bytes want them aligned. */
static bool legacy_takes_any(const struct encoding *is) {
    if (is->map == MAP_0F)
        return is->opcode == 0x10 || is->opcode == 0x11 || is->opcode == 0xf0 ||
               (is->prefix == 0xf3 && (is->opcode == 0x6f || is->opcode == 0x7f));
    return is->map == MAP_OTHER || (is->map == MAP_0F3A && is->opcode >= 0x60 && is->opcode <= 0x63);
}

/* vmovaps, vmovapd, vmovdqa, and what goes by the caches. */
static bool vector_is_aligned(const struct encoding *is) {
    if (is->map == MAP_0F38)
        return is->opcode == 0x2a && is->prefix == 0x66;
    if (is->map != MAP_0F)
        return false;
    if (is->opcode == 0x28 || is->opcode == 0x29 || is->opcode == 0x2b)
        return is->prefix == 0 || is->prefix == 0x66;
    return is->prefix == 0x66 && (is->opcode == 0x6f || is->opcode == 0x7f || is->opcode == 0xe7);
}

/* AMD's mode in which legacy instructions take any address but for the moves. */
static bool is_misaligned_mode(void) {
    uint32_t mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    return mxcsr & MISALIGNED_MODE;
}

unsigned alignment_wanted(const struct instruction *at, const uint8_t *bytes) {
    const struct encoding is = encoding_of(at, bytes);
    if (at->memory != MEMORY_OPERAND || !at->access)
        return 1;
    if (at->vex)
        return vector_is_aligned(&is) ? at->operand_bytes : 1;
    if (at->operand_bytes != SSE_BYTES || legacy_takes_any(&is) || is_misaligned_mode())
        return 1;
    return SSE_BYTES;
}

bool may_be_masked(const struct instruction *at, const uint8_t *bytes) {
    const struct encoding is = encoding_of(at, bytes);
    if (at->vex == EVEX)
        return bytes[at->opcode_offset - 1] & 7;
    return at->vex && is.map == MAP_0F38 && is.prefix == 0x66 &&
           ((is.opcode >= 0x2c && is.opcode <= 0x2f) || is.opcode == 0x8c || is.opcode == 0x8e); /* maskmov */
}
