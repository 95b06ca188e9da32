/* The few instructions that may be locked, as functions of old value, operand and flags.
 *
 * The exchange itself is always a compare-and-exchange, from the old value to the new one: a loop of two instructions
 * where the processor has one, but nobody else can see the difference, and both values are known for certain. */
#include "effects/atomics.h"

#include "arch/x86_64/emit.h"
#include "effects/words.h"
#include "region/log.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "translate/cache.h"

enum operation {
    OP_ADD, /* in the order of the encodings: opcode bits 3 to 5 */
    OP_OR,
    OP_ADC,
    OP_SBB,
    OP_AND,
    OP_SUB,
    OP_XOR,
    OP_CMP,
    OP_INC,
    OP_DEC,
    OP_NOT,
    OP_NEG,
    OP_BTS,
    OP_BTR,
    OP_BTC,
    OP_XADD,
    OP_XCHG,
    OP_CMPXCHG,
    OP_CMPXCHG_WIDE, /* cmpxchg8b, cmpxchg16b */
    OP_NONE,
};

enum { CF = 1 << 0, PF = 1 << 2, AF = 1 << 4, ZF = 1 << 6, SF = 1 << 7, OF = 1 << 11 };
#define ARITHMETIC ((uint64_t)(CF | PF | AF | ZF | SF | OF))

struct locked {
    enum operation operation;
    uint32_t size;    /* bytes */
    unsigned reg;     /* of the ModRM byte */
    bool high;        /* ah … bh */
    uint64_t operand; /* register or immediate */
};

/* ---- what the bytes say ---- */

static enum operation operation_of(const struct instruction *at, const uint8_t *bytes) {
    const uint8_t opcode = bytes[at->opcode_offset], extension = bytes[at->modrm_offset] >> 3 & 7;
    if (at->opcode_offset && bytes[at->opcode_offset - 1] == 0x0f) {
        switch (opcode) {
        case 0xab:
            return OP_BTS;
        case 0xb3:
            return OP_BTR;
        case 0xbb:
            return OP_BTC;
        case 0xba:
            return extension == 5 ? OP_BTS : extension == 6 ? OP_BTR : extension == 7 ? OP_BTC : OP_NONE;
        case 0xb0:
        case 0xb1:
            return OP_CMPXCHG;
        case 0xc0:
        case 0xc1:
            return OP_XADD;
        case 0xc7:
            return extension == 1 ? OP_CMPXCHG_WIDE : OP_NONE;
        default:
            return OP_NONE;
        }
    }
    if (opcode < 0x38 && (opcode & 7) < 2)
        return (enum operation)(OP_ADD + (opcode >> 3));
    if (opcode >= 0x80 && opcode <= 0x83 && extension != 7)
        return (enum operation)(OP_ADD + extension);
    if (opcode == 0x86 || opcode == 0x87)
        return OP_XCHG;
    if ((opcode & 0xfe) == 0xfe)
        return extension == 0 ? OP_INC : extension == 1 ? OP_DEC : OP_NONE;
    if ((opcode & 0xfe) == 0xf6)
        return extension == 2 ? OP_NOT : extension == 3 ? OP_NEG : OP_NONE;
    return OP_NONE;
}

static struct locked understand(const struct context *context, const struct instruction *at, const uint8_t *bytes) {
    struct locked locked = {.operation = operation_of(at, bytes), .size = at->operand_bytes};
    locked.reg = (bytes[at->modrm_offset] >> 3 & 7) | (at->rex & 4) << 1;
    locked.high = locked.size == 1 && !at->rex && locked.reg >= 4;
    if (at->immediate_size)
        locked.operand = (uint64_t)at->immediate;
    else
        locked.operand =
            locked.high ? context->registers.general[locked.reg - 4] >> 8 : context->registers.general[locked.reg];
    locked.operand &= value_mask(locked.size);
    return locked;
}

/* ---- what it does ---- */

static uint64_t flags_of_result(uint64_t result, uint32_t size) {
    uint64_t flags = result & 0x80ull << 8 * (size - 1) ? SF : 0;
    flags |= result ? 0 : ZF;
    return flags | (__builtin_parity((unsigned)(result & 0xff)) ? 0 : PF);
}

static uint64_t flags_of_sum(uint64_t a, uint64_t b, uint64_t sum, uint32_t size) {
    const uint64_t top = 0x80ull << 8 * (size - 1);
    return flags_of_result(sum, size) | (sum < a ? CF : 0) | ((a ^ b ^ sum) & AF) |
           ((a ^ sum) & (b ^ sum) & top ? OF : 0);
}

static uint64_t flags_of_difference(uint64_t a, uint64_t b, uint32_t size) {
    const uint64_t top = 0x80ull << 8 * (size - 1), difference = (a - b) & value_mask(size);
    return flags_of_result(difference, size) | (a < b ? CF : 0) | ((a ^ b ^ difference) & AF) |
           ((a ^ b) & (a ^ difference) & top ? OF : 0);
}

/* change.old → change.now; *flags as they will be. */
static void compute(const struct context *context, const struct locked *locked, struct change *change,
                    uint64_t *flags) {
    const uint64_t *general = context->registers.general;
    const uint64_t old = change->old[0], b = locked->operand, mask = value_mask(locked->size);
    const uint64_t bit = 1ull << (b & (8 * locked->size - 1)), before = context->registers.flags;
    uint64_t now = old, changed = 0;
    change->now[1] = change->old[1];
    switch (locked->operation) {
    case OP_ADD:
    case OP_XADD:
        now = (old + b) & mask;
        changed = flags_of_sum(old, b, now, locked->size);
        break;
    case OP_SUB:
        now = (old - b) & mask;
        changed = flags_of_difference(old, b, locked->size);
        break;
    case OP_INC:
        now = (old + 1) & mask;
        changed = (flags_of_sum(old, 1, now, locked->size) & ~(uint64_t)CF) | (before & CF);
        break;
    case OP_DEC:
        now = (old - 1) & mask;
        changed = (flags_of_difference(old, 1, locked->size) & ~(uint64_t)CF) | (before & CF);
        break;
    case OP_OR:
        now = old | b;
        changed = flags_of_result(now, locked->size);
        break;
    case OP_AND:
        now = old & b;
        changed = flags_of_result(now, locked->size);
        break;
    case OP_XOR:
        now = old ^ b;
        changed = flags_of_result(now, locked->size);
        break;
    case OP_NOT:
        now = ~old & mask;
        changed = before & ARITHMETIC;
        break;
    case OP_BTS:
    case OP_BTR:
    case OP_BTC:
        now = locked->operation == OP_BTS ? old | bit : locked->operation == OP_BTR ? old & ~bit : old ^ bit;
        changed = (before & ARITHMETIC & ~(uint64_t)CF) | (old & bit ? CF : 0);
        break;
    case OP_CMPXCHG:
        now = old == (general[RAX] & mask) ? b : old;
        changed = flags_of_difference(general[RAX] & mask, old, locked->size);
        break;
    case OP_CMPXCHG_WIDE: {
        const bool pair = locked->size == 16;
        const uint64_t low = pair ? general[RAX] : (uint32_t)general[RAX] | general[RDX] << 32;
        const bool equal = old == low && (!pair || change->old[1] == general[RDX]);
        if (equal) {
            now = pair ? general[RBX] : (uint32_t)general[RBX] | general[RCX] << 32;
            change->now[1] = pair ? general[RCX] : 0;
        }
        changed = (before & ARITHMETIC & ~(uint64_t)ZF) | (equal ? ZF : 0);
        break;
    }
    default: /* xchg */
        now = b;
        changed = before & ARITHMETIC;
        break;
    }
    change->now[0] = now;
    *flags = (before & ~ARITHMETIC) | changed;
}

static uint32_t manner(enum operation operation) {
    switch (operation) {
    case OP_ADD:
    case OP_SUB:
    case OP_INC:
    case OP_DEC:
    case OP_XADD:
        return WORD_COUNTED;
    case OP_CMPXCHG:
    case OP_CMPXCHG_WIDE:
        return WORD_COMPARED;
    case OP_XCHG:
        return WORD_EXCHANGED;
    default:
        return WORD_BITS;
    }
}

/* A register gets `size` bytes: four of them clear the upper half. */
static void set_register(uint64_t *reg, uint64_t value, uint32_t size, bool high) {
    if (size >= 4)
        *reg = value;
    else if (high)
        *reg = (*reg & ~0xff00ull) | value << 8;
    else
        *reg = (*reg & ~value_mask(size)) | value;
}

static void set_results(struct context *context, const struct locked *locked, const struct change *change) {
    uint64_t *general = context->registers.general;
    const bool failed = !(context->registers.flags & ZF);
    if (locked->operation == OP_XADD || locked->operation == OP_XCHG)
        set_register(&general[locked->high ? locked->reg - 4 : locked->reg], change->old[0], locked->size,
                     locked->high);
    if (locked->operation == OP_CMPXCHG && failed)
        set_register(&general[RAX], change->old[0], locked->size, false);
    if (locked->operation == OP_CMPXCHG_WIDE && failed) {
        general[RAX] = locked->size == 16 ? change->old[0] : (uint32_t)change->old[0];
        general[RDX] = locked->size == 16 ? change->old[1] : change->old[0] >> 32;
    }
}

static bool is_done_here(const struct locked *locked) {
    const enum operation operation = locked->operation;
    const uint32_t size = locked->size;
    if (operation == OP_CMPXCHG_WIDE)
        return size == 8 || size == 16;
    return operation != OP_NONE && operation != OP_ADC && operation != OP_SBB && operation != OP_CMP &&
           operation != OP_NEG && (size == 1 || size == 2 || size == 4 || size == 8);
}

void locked_instruction(struct context *context, uintptr_t source, uintptr_t address) {
    struct instruction at;
    uint8_t bytes[15];
    if (!decode(bytes, source_bytes(source, bytes), source, 64, &at)) {
        go_native(context, source, REASON_UNKNOWN_INSTRUCTION);
        return;
    }
    const struct locked locked = understand(context, &at, bytes);
    struct change change = {.address = address, .size = locked.size, .how = manner(locked.operation)};
    if (!is_done_here(&locked)) {
        go_native(context, source, REASON_SHARED_STATE);
        return;
    }
    if (safe_copy(change.old, (const void *)address, locked.size) < locked.size)
        return;
    uint64_t flags;
    for (int done = 0; done <= 0;) {
        compute(context, &locked, &change, &flags);
        if ((change.now[0] != change.old[0] || change.now[1] != change.old[1]) && !words_prepare(context, &change)) {
            go_native(context, source, REASON_LOG_FULL);
            return;
        }
        if ((done = safe_exchange(address, locked.size, change.old, change.now)) < 0)
            return;
    }
    words_done(context, &change);
    context->registers.flags = flags;
    set_results(context, &locked, &change);
    context->resume = context->behind;
}

/* mov [word], register or immediate: what it stores, in *value. */
static bool value_stored(const struct context *context, uintptr_t source, uint64_t *value) {
    struct instruction at;
    uint8_t bytes[15];
    if (!decode(bytes, source_bytes(source, bytes), source, 64, &at) || at.vex || !at.modrm_offset)
        return false;
    const uint8_t opcode = bytes[at.opcode_offset];
    const bool escaped = at.opcode_offset && bytes[at.opcode_offset - 1] == 0x0f;
    if (escaped || ((opcode & 0xfe) != 0x88 && (opcode & 0xfe) != 0xc6))
        return false;
    *value = understand(context, &at, bytes).operand;
    return true;
}

bool store_logged(struct context *context, uintptr_t address, size_t size) {
    struct change change;
    uint64_t value;
    const enum store_meaning meaning = words_store(context, address, size, &change);
    if (meaning == STORE_DATA)
        return log_range(context, address, size);
    if (meaning == STORE_UNKNOWN || !value_stored(context, cache_source_of(context->resume), &value))
        return false;
    safe_copy(change.old, (const void *)address, change.size);
    change.now[0] = (change.old[0] & ~value_mask(size)) | value;
    change.now[1] = change.old[1];
    if (!words_prepare(context, &change))
        return false;
    words_done(context, &change);
    return true;
}
