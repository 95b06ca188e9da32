#include "region/masked.h"

#include "arch/x86_64/vectors.h"
#include "region/log.h"

enum {
    VEX3 = 3,
    EVEX = 4,
    MAP_0F = 1,
    MAP_0F38 = 2,
    MAP_0F3A = 3,
    PREFIX_F3 = 2,
    PREFIX_F2 = 3,
    LARGEST_BYTES = 64,
    NARROW_MASK = 16, /* elements: what every processor with mask registers has */
};

/* The fields of a VEX3 or EVEX prefix that masked stores differ by. */
struct vector_prefix {
    unsigned map, mandatory, wide, second, mask;
};

static struct vector_prefix prefix_of(const struct instruction *at, const uint8_t *bytes) {
    const uint8_t *end = bytes + at->opcode_offset;
    const bool evex = at->vex == EVEX;
    const uint8_t fields = evex ? end[-2] : end[-1];
    return (struct vector_prefix){
        .map = (evex ? end[-3] : end[-2]) & 7,
        .mandatory = fields & 3,
        .wide = fields >> 7,
        .second = ~fields >> 3 & 15,
        .mask = evex ? end[-1] & 7 : 0,
    };
}

bool store_is_masked(const struct instruction *at, const uint8_t *bytes) {
    const uint8_t opcode = bytes[at->opcode_offset];
    if (at->memory != MEMORY_OPERAND || !(at->access & ACCESS_WRITE))
        return false;
    if (at->vex == EVEX)
        return prefix_of(at, bytes).mask != 0;
    return at->vex == VEX3 && prefix_of(at, bytes).map == MAP_0F38 &&
           (opcode == 0x2e || opcode == 0x2f || opcode == 0x8e); /* vmaskmovps, vmaskmovpd, vpmaskmovd/q */
}

/* Bytes that one bit of the mask stands for; 0: not known.  EVEX. */
static unsigned element_bytes(struct vector_prefix prefix, uint8_t opcode) {
    static const uint8_t truncated[] = {1, 1, 1, 2, 2, 4}; /* vpmovwb, db, qb, dw, qw, qd; saturating ones too */
    const unsigned word = prefix.wide ? 8 : 4;
    switch (prefix.map) {
    case MAP_0F:
        if (opcode == 0x7f && prefix.mandatory == PREFIX_F2)
            return prefix.wide ? 2 : 1; /* vmovdqu8, vmovdqu16 */
        return opcode == 0x7f || opcode == 0x11 || opcode == 0x29 ? word : 0;
    case MAP_0F38:
        if (prefix.mandatory == PREFIX_F3)
            return opcode < 0x40 && (opcode & 15) < sizeof truncated ? truncated[opcode & 15] : 0;
        return opcode == 0x63 ? (prefix.wide ? 2 : 1) : opcode == 0x8a || opcode == 0x8b ? word : 0; /* compress */
    case MAP_0F3A:
        return opcode == 0x1d ? 2 : word; /* vcvtps2ph; vextractf32x4 and its kin */
    default:
        return 0;
    }
}

/* A bit for each element whose sign is set. */
static uint64_t signs(const uint8_t *vector, unsigned each, unsigned count) {
    uint64_t mask = 0;
    for (unsigned i = 0; i < count; i++)
        mask |= (uint64_t)(vector[i * each + each - 1] >> 7) << i;
    return mask;
}

static uint64_t mask_of(const struct instruction *at, const uint8_t *bytes, unsigned each, unsigned count) {
    const struct vector_prefix prefix = at->vex >= VEX3 ? prefix_of(at, bytes) : (struct vector_prefix){0};
    uint8_t vector[LARGEST_BYTES];
    if (at->vex == EVEX) {
        const uint64_t mask = count > NARROW_MASK ? mask_read_wide(prefix.mask) : mask_read(prefix.mask);
        const bool compress = prefix.map == MAP_0F38 && prefix.mandatory != PREFIX_F3;
        unsigned chosen = 0;
        for (unsigned i = 0; i < count; i++)
            chosen += mask >> i & 1;
        return !compress ? mask : chosen == LARGEST_BYTES ? ~0ull : (1ull << chosen) - 1;
    }
    if (at->memory == MEMORY_OPERAND)
        vector_read_avx(vector, prefix.second);
    else
        vector_read_sse(vector, (bytes[at->modrm_offset] & 7) | (at->rex & 1) << 3);
    return signs(vector, each, count);
}

bool log_masked(struct context *context, const struct instruction *at, const uint8_t *bytes, uintptr_t address) {
    const uint8_t opcode = bytes[at->opcode_offset];
    unsigned each = 1;
    if (at->vex == EVEX)
        each = element_bytes(prefix_of(at, bytes), opcode);
    else if (at->memory == MEMORY_OPERAND)
        each = opcode == 0x2f || (opcode == 0x8e && prefix_of(at, bytes).wide) ? 8 : 4;
    else if (at->vex || at->operand_bytes != 16)
        each = 0; /* maskmovq, and vmaskmovdqu with registers of a prefix of its own */
    if (!each)
        return log_range(context, address, at->operand_bytes);
    const unsigned count = at->operand_bytes / each;
    const uint64_t mask = mask_of(at, bytes, each, count);
    for (unsigned i = 0; i < count; i++) {
        unsigned run = 0;
        while (i + run < count && mask >> (i + run) & 1)
            run++;
        if (run && !log_range(context, address + i * each, (size_t)run * each))
            return false;
        i += run;
    }
    return true;
}
