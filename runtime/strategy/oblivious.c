/* Failure-oblivious: an access that cannot be made is left out, and the region goes on behind its instruction.
 *
 * What is written is discarded; what is read is manufactured, after M. Rinard, C. Cadar, D. Dumitran, D. Roy, T. Leu
 * and W. Beebee, "Enhancing Server Availability and Security Through Failure-Oblivious Computing" (OSDI 2004): small
 * numbers, 0 and 1 most often, and each of a byte's values in turn, so that loops end which look for one.
 *
 * The instruction itself computes: a copy of it with scratch memory as its operand runs in its place, which leaves
 * vectors, flags and read-modify-writes to the processor.  The copy is a translation unit like others, made once.
 */
#include "strategy/strategy.h"

#include "arch/x86_64/emit.h"
#include "decode/decode.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "translate/cache.h"

enum { LONGEST = 15, MOST_PREFIXES = 14, DIRECTION = 0x400, ZERO = 0x40, CARRY = 1, ARITHMETIC = 0x8d5 };

static uint64_t manufacture(struct context *context) {
    enum { PERIOD = 3, BYTE_VALUES = 256, COMMON = 2 };
    const uint64_t number = context->sequence++, round = number / PERIOD % (BYTE_VALUES - COMMON);
    return number % PERIOD < COMMON ? number % PERIOD : COMMON + round;
}

static bool is_access(uint32_t fault_class) {
    return fault_class == FAULT_NULL_DEREFERENCE || fault_class == FAULT_WILD_DEREFERENCE || fault_class == FAULT_BUS ||
           fault_class == FAULT_HEAP_OVERFLOW || fault_class == FAULT_USE_AFTER_FREE ||
           fault_class == FAULT_OUT_OF_BOUNDS;
}

static bool is_segment(uint8_t byte) {
    return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x64 || byte == 0x65;
}

static unsigned prefixes(const uint8_t *bytes) {
    unsigned count = 0;
    while (count < MOST_PREFIXES && (is_segment(bytes[count]) || bytes[count] == 0x66 || bytes[count] == 0x67 ||
                                     bytes[count] == 0xf0 || bytes[count] == 0xf2 || bytes[count] == 0xf3))
        count++;
    return count;
}

static bool has_prefix(const uint8_t *bytes, uint8_t prefix) {
    for (unsigned i = prefixes(bytes); i-- > 0;)
        if (bytes[i] == prefix)
            return true;
    return false;
}

static bool is_one_byte_opcode(const struct instruction *at, const uint8_t *bytes) {
    return !at->vex && (!at->opcode_offset || bytes[at->opcode_offset - 1] != 0x0f) &&
           (at->opcode_offset < 2 || bytes[at->opcode_offset - 2] != 0x0f);
}

/* What steers the FPU's exceptions must not be manufactured. */
static bool loads_control(const struct instruction *at, const uint8_t *bytes) {
    const uint8_t opcode = bytes[at->opcode_offset], extension = bytes[at->modrm_offset] >> 3 & 7;
    return opcode == 0xae || (opcode == 0xd9 && is_one_byte_opcode(at, bytes) && (extension == 4 || extension == 5));
}

static bool can_redirect(const struct instruction *at, const uint8_t *bytes) {
    const bool stack = at->stack == STACK_NONE || at->stack == STACK_PUSH || at->stack == STACK_POP;
    return at->flow == FLOW_NEXT && at->memory == MEMORY_OPERAND && at->access != ACCESS_NONE && at->modrm_offset &&
           at->operand_bytes && at->operand_bytes <= sizeof((struct context *)0)->scratch && !at->bit_offset &&
           !at->bnd_or_other && stack && !loads_control(at, bytes);
}

/* The instruction with gs:[.scratch] as its operand; how many bytes, more than LONGEST where there is no room. */
static unsigned redirect(const struct instruction *at, const uint8_t *bytes, uint8_t to[2 * LONGEST]) {
    const unsigned legacy = prefixes(bytes);
    const unsigned payload =
        at->opcode_offset - (at->vex == 4 ? 3u : 2u); /* the byte with X and B, of VEX, EVEX, XOP */
    unsigned count = 0;
    to[count++] = 0x65;
    for (unsigned i = 0; i < at->modrm_offset; i++) {
        if (i < legacy && is_segment(bytes[i]))
            continue;
        to[count] = bytes[i];
        if (at->rex && i == at->rex_offset)
            to[count] &= (uint8_t)~3; /* X, B */
        else if (at->vex > 2 && i == payload)
            to[count] |= 0x60; /* the same, inverted */
        count++;
    }
    to[count++] = (uint8_t)((bytes[at->modrm_offset] & 0x38) | 4);
    to[count++] = 0x25; /* neither base nor index */
    for (unsigned i = 0; i < 4; i++)
        to[count++] = (uint8_t)(offsetof(struct context, scratch) >> 8 * i);
    for (unsigned i = 0; i < at->immediate_size; i++)
        to[count++] = bytes[at->immediate_offset + i];
    return count;
}

static bool run_redirected(struct context *context, const struct instruction *at, const uint8_t *bytes) {
    const uintptr_t pc = context->fault_pc;
    uint8_t code[2 * LONGEST];
    const unsigned count = redirect(at, bytes, code);
    const struct translation *known = count > LONGEST ? NULL : cache_find(pc | ALONE);
    if (!known && count <= LONGEST && !context->state->sealed && runtime_lock()) {
        known = cache_translate_alone(pc, code, count, pc + at->length);
        runtime_unlock();
    }
    if (!known)
        return false;
    for (unsigned i = 0; i < sizeof context->scratch; i++)
        context->scratch[i] = 0;
    *(uint64_t *)context->scratch = at->access & ACCESS_READ ? manufacture(context) : 0;
    context->resume = known->body;
    return true;
}

static void put_register(uint64_t *to, uint64_t value, unsigned bytes) {
    const uint64_t mask = bytes >= 4 ? ~0ull : (1ull << 8 * bytes) - 1;
    *to = (*to & ~mask) | (value & mask);
}

/* The rest of it at once; comparisons end here: what was looked for is found, what shall be equal is not. */
static bool skip_string(struct context *context, const struct instruction *at, const uint8_t *bytes) {
    uint64_t *general = context->registers.general;
    const uint8_t operation = bytes[at->opcode_offset] & 0xfe;
    const bool compares = operation == 0xa6 || operation == 0xae, from = operation != 0xaa && operation != 0xae;
    if (operation < 0xa4 || at->address_size_override || at->flow != FLOW_NEXT)
        return false; /* ports */
    const uint64_t steps = at->repeat && !compares ? general[RCX] : 1;
    const uint64_t distance = steps * at->operand_bytes * (context->registers.flags & DIRECTION ? ~0ull : 1);
    if (operation == 0xac)
        put_register(&general[RAX], manufacture(context), at->operand_bytes);
    else
        general[RDI] += distance;
    if (from)
        general[RSI] += distance;
    if (at->repeat)
        general[RCX] -= steps;
    if (compares)
        context->registers.flags = (context->registers.flags & ~(uint64_t)ARITHMETIC) |
                                   (!at->repeat || has_prefix(bytes, 0xf2) ? ZERO : CARRY);
    go_to(context, context->fault_pc + at->length);
    return true;
}

/* div, idiv: quotient and remainder 0. */
static bool skip_divide(struct context *context, const struct instruction *at, const uint8_t *bytes) {
    uint64_t *general = context->registers.general;
    const uint8_t opcode = bytes[at->opcode_offset];
    if (!is_one_byte_opcode(at, bytes) || (opcode & 0xfe) != 0xf6 || (bytes[at->modrm_offset] >> 3 & 7) < 6)
        return false;
    const unsigned size = at->rex & 8 ? 8 : has_prefix(bytes, 0x66) ? 2 : 4;
    put_register(&general[RAX], 0, opcode == 0xf6 ? 2 : size); /* ax holds both */
    if (opcode == 0xf7)
        put_register(&general[RDX], 0, size);
    go_to(context, context->fault_pc + at->length);
    return true;
}

static bool complete(struct context *context) {
    struct instruction at;
    uint8_t bytes[LONGEST + 1] = {0};
    const uintptr_t pc = context->fault_pc;
    if (!decode(bytes, source_bytes(pc, bytes), pc, 64, &at))
        return false;
    if (context->fault_class == FAULT_DIVIDE)
        return skip_divide(context, &at, bytes);
    if (!is_access(context->fault_class))
        return false;
    if (at.memory == MEMORY_STRING)
        return skip_string(context, &at, bytes);
    return can_redirect(&at, bytes) && run_redirected(context, &at, bytes);
}

/* Recorded once per entry of the region, for there may be thousands; .completed counts them all. */
enum outcome strategy_oblivious(struct context *context, const struct rule *rule) {
    struct mark *mark = innermost(context);
    if (mark->tries >= rule->value[1] || !complete(context))
        return OUTCOME_RETURN;
    if (!mark->tries++)
        strategy_record(context, mark, STRATEGY_OBLIVIOUS, 0);
    __atomic_add_fetch(&mark->patch_state->completed, 1, __ATOMIC_RELAXED);
    return OUTCOME_RESUME;
}
