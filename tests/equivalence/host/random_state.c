/* A random state of the machine in which a case makes sense: registers and flags of every kind, and memory operands
 * where it hurts: across granules of the undo log, across pages, at and over the end of what is mapped. */
#include <stdbool.h>
#include <string.h>

#include "machine.h"

enum { POOL = 1 << 20, PAGE = 4096, GRANULE = 512, RSP = 4, RAX = 0, RBP = 5 };
#define STATUS_FLAGS 0x8d5u /* CF PF AF ZF SF OF */
#define DIRECTION 0x400u
#define TRAP_AND_ALIGNMENT 0x40100u /* popf of these would change how the host itself runs */

static uint64_t random_word = 1;
static uint8_t pool[POOL + ARENA_BYTES];
uint8_t *arena_at[ARENAS];

uint64_t next_random(void) { /* xorshift64* */
    random_word ^= random_word >> 12;
    random_word ^= random_word << 25;
    random_word ^= random_word >> 27;
    return random_word * 0x2545f4914f6cdd1dull;
}

void seed_random(uint64_t seed) {
    random_word = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
    next_random();
}

static unsigned below(unsigned limit) {
    return (unsigned)((next_random() >> 32) * limit >> 32);
}

static uint64_t interesting(void) {
    static const uint64_t corners[] = {0, 1, ~0ull, 1ull << 63, ~(1ull << 63), 0x80000000, 0x7fffffff, 0xffffffff, 0xff, 0x8000};
    switch (below(4)) {
    case 0:
        return corners[below(sizeof corners / sizeof *corners)];
    case 1:
        return next_random() >> below(64);
    case 2:
        return 1ull << below(64);
    default:
        return next_random();
    }
}

static float ordinary(void) {
    return (float)((int64_t)next_random() >> 40) / (float)(1 + below(1000));
}

/* Words for memory and vectors: bits, integers, and numbers that arithmetic does not turn into NaN at once. */
static uint64_t data_word(void) {
    union {
        float single[2];
        double whole;
        uint64_t bits;
    } word;
    switch (below(4)) {
    case 0:
        word.single[0] = ordinary();
        word.single[1] = ordinary();
        return word.bits;
    case 1:
        word.whole = (double)ordinary();
        return word.bits;
    default:
        return interesting();
    }
}

void states_prepare(void) {
    seed_random(2026);
    for (unsigned i = 0; i < sizeof pool; i += 8) {
        const uint64_t word = data_word();
        memcpy(pool + i, &word, 8);
    }
}

/* An address for an operand of `size` bytes. */
static uint64_t place(const struct operand *operand) {
    const uint64_t start = (uint64_t)arena_at[operand->arena], end = start + ARENA_BYTES;
    const unsigned size = operand->size ? operand->size : 1;
    const unsigned aligned = operand->align && below(16) ? operand->align : 1;
    const unsigned inside = size < 64 ? size : 64;
    uint64_t address;
    switch (below(16)) {
    case 0: /* its last byte is the arena's, or lies behind it */
        address = end - size + (below(4) ? 0 : below(inside) + 1);
        break;
    case 1: /* its first byte is the arena's, or lies before it */
        address = start - (below(4) ? 0 : below(inside) + 1);
        break;
    case 2: /* across a page's end */
    case 3:
        address = start + PAGE * (1 + below(ARENA_BYTES / PAGE - 1)) - below(inside + 1);
        break;
    case 4: /* across a granule's */
    case 5:
    case 6:
        address = start + GRANULE * (1 + below(ARENA_BYTES / GRANULE - 1)) - below(inside + 1);
        break;
    default:
        address = start + below(ARENA_BYTES - (size < ARENA_BYTES ? size : 0));
        break;
    }
    if (below(512) == 0) { /* nowhere; what the host itself occupies is not for cases to write to */
        address = interesting();
        return address < CASES ? address & (PAGE - 1) : address;
    }
    return address & -(uint64_t)aligned;
}

/* The registers of the operand such that it lies at `address`, or as near as they let it. */
static void aim(const struct operand *operand, uint64_t address) {
    uint64_t *general = in.general, wanted = address - (uint64_t)operand->displacement;
    if (operand->bits & OPERAND_FS)
        wanted -= (uint64_t)__builtin_thread_pointer();
    const uint64_t garbage = operand->bits & OPERAND_NARROW ? next_random() << 32 : 0;
    if (operand->bits & OPERAND_INDEX_AL) {
        general[operand->base] = wanted - (general[RAX] & 0xff);
    } else if (operand->kind == OPERAND_VECTOR || operand->index == NO_REGISTER) {
        if (operand->base != NO_REGISTER)
            general[operand->base] = wanted | garbage;
    } else if (operand->base == operand->index) {
        if (operand->bits & OPERAND_NARROW)
            wanted = (uint32_t)wanted;
        general[operand->base] = wanted / (operand->scale + 1u) | garbage;
    } else if (operand->base == NO_REGISTER) {
        if (operand->bits & OPERAND_NARROW)
            wanted = (uint32_t)wanted;
        general[operand->index] = wanted / operand->scale | garbage;
    } else {
        const uint64_t index = operand->index == RSP || operand->base == RSP ? below(64) : interesting();
        general[operand->index] = index;
        wanted -= index * operand->scale;
        general[operand->base] = operand->bits & OPERAND_NARROW ? (uint32_t)wanted | garbage : wanted;
    }
}

/* Indices near by, now and then one that leads away. */
static void aim_vector(const struct operand *operand) {
    for (unsigned at = 0; at < 64; at += operand->element) {
        int64_t index = ((int)below(2048) - 1024) / operand->scale;
        if (below(256) == 0)
            index = (int64_t)interesting();
        memcpy(vector_bytes(in.xsave, operand->index, at), &index, operand->element);
    }
}

static uint64_t address_of(const struct operand *operand) {
    if (operand->kind == OPERAND_FIXED)
        return (uint64_t)operand->displacement;
    uint64_t address = (uint64_t)operand->displacement;
    if (operand->base != NO_REGISTER)
        address += in.general[operand->base];
    if (operand->index != NO_REGISTER && operand->kind == OPERAND_REGISTERS)
        address += (operand->bits & OPERAND_INDEX_AL ? in.general[RAX] & 0xff : in.general[operand->index]) * operand->scale;
    if (operand->bits & OPERAND_NARROW)
        address = (uint32_t)address;
    return operand->bits & OPERAND_FS ? address + (uint64_t)__builtin_thread_pointer() : address;
}

/* Into an arena, as far as it is there. */
static void put(uint64_t address, const void *data, unsigned size) {
    for (unsigned arena = 0; arena < ARENAS; arena++) {
        const uint64_t start = (uint64_t)arena_at[arena];
        for (unsigned i = 0; i < size; i++)
            if (address + i - start < ARENA_BYTES)
                arena_at[arena][address + i - start] = ((const uint8_t *)data)[i];
    }
}

static void set_up(const struct test_case *test) {
    static uint8_t image[XSAVE_BYTES] __attribute__((aligned(64)));
    const uint64_t at = address_of(&test->operands[0]), target = CASES + test->taken;
    uint32_t mxcsr = (uint32_t)next_random();
    uint64_t flags = next_random() & ~(uint64_t)TRAP_AND_ALIGNMENT;
    switch ((enum setup)test->setup) {
    case SETUP_NONE:
        break;
    case SETUP_TARGET_MEMORY:
        put(at, &target, 8);
        break;
    case SETUP_TARGET_REGISTER:
        in.general[test->target_register] = target;
        break;
    case SETUP_TARGET_STACK:
        put(in.general[RSP], &target, 8);
        break;
    case SETUP_FLAGS_STACK:
        put(in.general[RSP], &flags, 8);
        break;
    case SETUP_XSAVE_IMAGE:
        xsave_random(image);
        if (below(16) == 0)
            image[512 + below(64)] = 1; /* a header that is not allowed, maybe */
        put(at, image, xsave_used);
        break;
    case SETUP_FXSAVE_IMAGE:
        fxsave_image(image, in.xsave);
        put(at, image, 512);
        break;
    case SETUP_MXCSR:
        mxcsr &= below(8) ? 0xffbf : ~0u;
        put(at, &mxcsr, 4);
        break;
    case SETUP_SAVES:
        in.xsave[512] |= 3;
        break;
    case SETUP_FRAME:
        in.general[RBP] = (uint64_t)arena_at[ARENA_STACK] + 64 + 8 * below(ARENA_BYTES / 8 - 16);
        break;
    }
}

/* Near the operand, or behind the end of its arena, where nothing else is; never where the host is. */
static uint64_t bit_offset(const struct operand *operand) {
    enum { NEAR = 8192, AWAY = 8 * 0x20000 };
    const bool away = operand->arena != ARENA_STACK && operand->arena != ARENA_HIGH && below(8) == 0;
    const int offset = (int)below(2 * NEAR) - NEAR;
    return (uint64_t)(away ? offset + (below(2) ? AWAY : -AWAY) : offset);
}

static uint64_t stack_pointer(void) {
    const uint64_t start = (uint64_t)arena_at[ARENA_STACK];
    switch (below(32)) {
    case 0:
        return start + below(16);
    case 1:
        return start + ARENA_BYTES - below(16);
    case 2:
        return start + PAGE + below(16) - 8;
    case 3:
        return start + 512 + below(ARENA_BYTES - 1024);
    default:
        return start + 512 + 8 * below((ARENA_BYTES - 1024) / 8);
    }
}

void make_state(const struct test_case *test) {
    for (unsigned i = 0; i < 16; i++) {
        in.general[i] = interesting();
        before.general[i] = next_random();
    }
    in.general[RSP] = stack_pointer();
    in.flags = (next_random() & (STATUS_FLAGS | (below(4) ? 0 : DIRECTION))) | 0x202;
    before.mxcsr = 0x1f80 | ((uint32_t)next_random() & 0xe000);
    before.x87_control = 0x7f | (uint16_t)(next_random() & 0xc00);
    xsave_random(in.xsave);
    for (unsigned arena = 0; arena < ARENAS; arena++)
        memcpy(arena_at[arena], pool + (next_random() & (POOL - 1) & ~7ull), ARENA_BYTES);
    for (unsigned i = 0; i < 2; i++) {
        const struct operand *operand = &test->operands[i];
        if (operand->kind == OPERAND_NONE || operand->kind == OPERAND_FIXED)
            continue;
        aim(operand, place(operand));
        if (operand->kind == OPERAND_VECTOR)
            aim_vector(operand);
    }
    if (test->bit_register != NO_REGISTER) {
        const struct operand *operand = &test->operands[0];
        if (test->bit_register != operand->base && test->bit_register != operand->index)
            in.general[test->bit_register] = bit_offset(operand);
    }
    if (test->count_register != NO_REGISTER)
        in.general[test->count_register] = below(16) ? below(2u << 2 * below(6)) : interesting();
    set_up(test);
}
