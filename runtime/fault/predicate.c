#include "fault/predicate.h"

#include "effects/words.h"
#include "region/log.h"
#include "region/rules.h"
#include "region/runtime.h"

struct value {
    uint64_t bits;
    bool known;
};

struct machine {
    const struct context *context;
    struct value stack[PREDICATE_DEPTH];
    unsigned depth;
};

bool has_predicate(uintptr_t source) {
    return rule_at(RULE_PREDICATE, source);
}

static uint64_t sign_extend(uint64_t value, unsigned size) {
    return (uint64_t)((int64_t)(value << (64 - 8 * size)) >> (64 - 8 * size));
}

static struct value load(struct value address, unsigned size) {
    struct value found = {0, address.known};
    if (found.known)
        found.known = safe_copy(&found.bits, (const void *)address.bits, size) == size;
    return found;
}

static uint64_t register_value(const struct context *context, unsigned number) {
    return number < 16 ? context->registers.general[number] : context->owner;
}

static uint64_t computed(enum operation operation, uint64_t a, uint64_t b) {
    switch (operation) {
    case OP_ADD:
        return a + b;
    case OP_SUBTRACT:
        return a - b;
    case OP_MULTIPLY:
        return a * b;
    case OP_MASK:
        return a & b;
    case OP_EQUAL:
        return a == b;
    case OP_BELOW:
        return a < b;
    case OP_BELOW_EQUAL:
        return a <= b;
    case OP_LESS:
        return (int64_t)a < (int64_t)b;
    default:
        return (int64_t)a <= (int64_t)b;
    }
}

/* One side that is known can decide: `rdi != 0 and u32[rdi] < 64` is false where rdi is 0. */
static struct value joined(bool both, struct value a, struct value b) {
    if (a.known && !a.bits == both)
        return a;
    if (b.known && !b.bits == both)
        return b;
    return (struct value){both, a.known && b.known};
}

/* One operation; `operand` is the byte behind it.  The bytes that it takes; 0: this is no program of ours. */
static unsigned step(struct machine *machine, enum operation operation, const uint8_t *operand) {
    struct value *top = &machine->stack[machine->depth - 1];
    if (operation <= OP_SMALL) {
        if (machine->depth == PREDICATE_DEPTH)
            return 0;
        struct value *pushed = &machine->stack[machine->depth++];
        *pushed = (struct value){0, true};
        if (operation == OP_REGISTER)
            pushed->bits = register_value(machine->context, *operand);
        else if (operation == OP_SMALL)
            pushed->bits = sign_extend(*operand, 1);
        else
            safe_copy(&pushed->bits, operand, sizeof pushed->bits);
        return operation == OP_CONSTANT ? 1 + sizeof pushed->bits : 2;
    }
    const bool binary = operation >= OP_ADD && operation != OP_NOT;
    if (machine->depth < (binary ? 2 : 1))
        return 0;
    if (operation == OP_LOAD)
        *top = load(*top, *operand);
    else if (operation == OP_ZERO_EXTEND)
        top->bits &= value_mask(*operand);
    else if (operation == OP_SIGN_EXTEND)
        top->bits = sign_extend(top->bits, *operand);
    else if (operation == OP_SHIFT_RIGHT)
        top->bits >>= *operand;
    else if (operation == OP_NOT)
        top->bits = !top->bits;
    if (!binary)
        return operation == OP_NOT ? 1 : 2;
    struct value *left = top - 1;
    if (operation == OP_BOTH || operation == OP_EITHER)
        *left = joined(operation == OP_BOTH, *left, *top);
    else
        *left = (struct value){computed(operation, left->bits, top->bits), left->known && top->known};
    machine->depth--;
    return 1;
}

static struct value run(const struct context *context, const uint8_t *program, size_t size) {
    struct machine machine = {.context = context, .depth = 0};
    for (size_t at = 0; at < size;) {
        const unsigned taken = step(&machine, (enum operation)program[at], &program[at + 1]);
        if (!taken)
            return (struct value){0, false};
        at += taken;
    }
    return machine.depth == 1 ? machine.stack[0] : (struct value){0, false};
}

/* The bytes of the program that begins in *rule, which becomes the one behind it. */
static size_t collect(const struct rule **rule, uint8_t *program) {
    const uint64_t bytes = (*rule)->value[0];
    size_t got = 0;
    do {
        if (got + RULE_PROGRAM_BYTES <= PREDICATE_BYTES)
            safe_copy(program + got, &(*rule)->value[1], RULE_PROGRAM_BYTES);
        got += RULE_PROGRAM_BYTES;
        *rule = rule_at_next(*rule);
    } while (*rule && got < bytes);
    return bytes <= PREDICATE_BYTES ? bytes : 0;
}

bool predicates_hold(const struct context *context, uintptr_t source) {
    uint8_t program[PREDICATE_BYTES + sizeof(uint64_t)];
    for (const struct rule *rule = rule_at(RULE_PREDICATE, source); rule;) {
        const size_t size = collect(&rule, program);
        const struct value result = run(context, program, size);
        if (result.known && !result.bits)
            return false;
        if (!result.known)
            degrade(context->state, NULL, REASON_RULE);
    }
    return true;
}
