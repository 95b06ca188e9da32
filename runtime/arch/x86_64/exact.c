/* Where the program is, when control is somewhere in the code cache.
 *
 * Code that the translator puts in between (rules.h) keeps the program's rax, rcx, rdx, flags or a scratch register in
 * the context's spill slots for a few instructions.  No table says where: the few instructions from the last entry of
 * the source map up to rip are read again, and what they have saved or reloaded is noted.
 */
#include "arch/x86_64/exact.h"

#include "arch/x86_64/emit.h"
#include "translate/cache.h"

enum { SPILLS = 4, NOBODY = 0xff, NOT_SPILLED = SPILLS };

enum {
    OPCODE_STORE = 0x89,
    OPCODE_LOAD = 0x8b,
    OPCODE_SAHF = 0x9e,
    OPCODE_ADD_AL = 0x04,
    OPCODE_XCHG_RCX = 0x91,
};

enum flags_place {
    FLAGS_LIVE,    /* in the flags register */
    FLAGS_IN_AX,   /* as lahf; seto al left them */
    FLAGS_IN_AH,   /* al is used up, its bit is OF again */
    FLAGS_SPILLED, /* in ax once more, that is in a spill slot */
};

struct bookkeeping {
    uint8_t holds[SPILLS]; /* the register whose value is in spill[i], or NOBODY */
    uint16_t used;         /* bit per register: something else is in it meanwhile */
    uint8_t flags_slot;    /* where ax with the flags was stored, or NOT_SPILLED */
    enum flags_place flags;
    bool target_in_register; /* SOURCE_LOOKUP: rcx has not been stored yet */
    bool exchanged;          /* rax is in rcx, for jrcxz */
};

/* The number of the spill slot that an instruction accesses. */
static unsigned spill_slot(const struct instruction *decoded) {
    uint64_t offset = (uint64_t)(int64_t)decoded->displacement - offsetof(struct context, spill);
    if (decoded->segment != 0x65 || decoded->memory != MEMORY_OPERAND || decoded->base != REG_NONE ||
        decoded->index != REG_NONE || offset >= SPILLS * sizeof(uint64_t))
        return NOT_SPILLED;
    return (unsigned)(offset / sizeof(uint64_t));
}

static bool stores_target(const struct instruction *decoded, uint8_t opcode) {
    return decoded->segment == 0x65 && opcode == OPCODE_STORE &&
           decoded->displacement == (int32_t)offsetof(struct context, target);
}

static uint8_t register_field(const struct instruction *decoded, const uint8_t *bytes) {
    return (uint8_t)((bytes[decoded->modrm_offset] >> 3 & 7) | (decoded->rex & 4) << 1);
}

/* An instruction of ours has run. */
static void follow(struct bookkeeping *book, const struct instruction *decoded, const uint8_t *bytes) {
    const uint8_t opcode = bytes[decoded->opcode_offset];
    const unsigned slot = spill_slot(decoded);
    const uint8_t reg = register_field(decoded, bytes);
    book->used |= decoded->writes;
    if (slot < SPILLS && opcode == OPCODE_STORE) {
        if (book->flags == FLAGS_IN_AX && reg == RAX) {
            book->flags_slot = (uint8_t)slot;
            book->flags = FLAGS_SPILLED;
        } else {
            book->holds[slot] = reg;
            book->used &= (uint16_t)~(1u << reg);
        }
    } else if (slot < SPILLS && opcode == OPCODE_LOAD) {
        if (slot == book->flags_slot)
            book->flags = FLAGS_IN_AX;
        else
            book->used &= (uint16_t)~(1u << reg);
    } else if (stores_target(decoded, opcode)) {
        book->target_in_register = false;
    } else if (opcode == 0x90 && decoded->opcode_offset == 1) { /* seto al, behind lahf */
        book->flags = FLAGS_IN_AX;
    } else if (opcode == OPCODE_XCHG_RCX && decoded->length == 2) {
        book->exchanged = !book->exchanged;
    } else if (opcode == OPCODE_ADD_AL && decoded->length == 2) {
        book->flags = FLAGS_IN_AH;
    } else if (opcode == OPCODE_SAHF && decoded->length == 1) {
        book->flags = FLAGS_LIVE;
        book->flags_slot = NOT_SPILLED;
    }
}

static struct bookkeeping at_start(enum source_kind kind, uintptr_t code) {
    struct bookkeeping book = {{NOBODY, NOBODY, NOBODY, NOBODY}, 0, NOT_SPILLED, FLAGS_LIVE, false, false};
    struct instruction first;
    const uint8_t *bytes = (const uint8_t *)code;
    if (kind == SOURCE_INSTRUCTION || kind == SOURCE_ARRIVING || !decode(bytes, 15, code, 64, &first))
        return book;
    if (kind == SOURCE_LOOKUP) {
        book.holds[0] = RCX;
        book.target_in_register = stores_target(&first, bytes[first.opcode_offset]);
    } else if (kind == SOURCE_RELOAD) {
        book.holds[3] = register_field(&first, bytes);
    } else { /* SOURCE_LOGGING */
        book.holds[1] = RAX;
        book.holds[2] = RDX;
        if (spill_slot(&first) == 3) {
            book.flags_slot = 3;
            book.flags = FLAGS_SPILLED;
        }
    }
    for (unsigned i = 0; i < SPILLS; i++)
        book.used |= (uint16_t)(book.holds[i] != NOBODY ? 1u << book.holds[i] : 0);
    return book;
}

/* Forward from `code` to `rip`; a short branch over some of it was taken, for rip lies behind what it skips. */
static struct bookkeeping read_again(enum source_kind kind, uintptr_t code, uintptr_t rip) {
    struct bookkeeping book = at_start(kind, code);
    while (code < rip) {
        struct instruction decoded;
        if (!decode((const uint8_t *)code, 15, code, 64, &decoded))
            break;
        follow(&book, &decoded, (const uint8_t *)code);
        code += decoded.length;
        if ((decoded.flow == FLOW_BRANCH || decoded.flow == FLOW_LOOP) && decoded.target > code &&
            decoded.target <= rip)
            code = decoded.target;
    }
    return book;
}

__attribute__((noinline)) static uint64_t *register_of(struct os_context *at, unsigned number) {
    uint64_t *const places[] = {&at->rax, &at->rcx, &at->rdx, &at->rbx, &at->rsp, &at->rbp, &at->rsi, &at->rdi,
                                &at->r8,  &at->r9,  &at->r10, &at->r11, &at->r12, &at->r13, &at->r14, &at->r15};
    return places[number];
}

static void restore_flags(const struct context *context, const struct bookkeeping *book, struct os_context *at) {
    enum { LAHF_FLAGS = 0xd5, OVERFLOW = 0x800 };
    if (book->flags == FLAGS_LIVE)
        return;
    const uint64_t ax = book->flags == FLAGS_SPILLED ? context->spill[book->flags_slot] : at->rax;
    const uint64_t overflow = book->flags == FLAGS_IN_AH ? at->eflags & OVERFLOW : (ax & 1) * OVERFLOW;
    at->eflags = (at->eflags & ~(uint64_t)(LAHF_FLAGS | OVERFLOW)) | (ax >> 8 & LAHF_FLAGS) | overflow;
}

bool exact_state(const struct context *context, struct os_context *at) {
    enum { SYSCALL_BYTES = 2 };
    const struct unit *unit;
    const struct source_map *map = cache_map_of(at->rip, &unit);
    if (!map)
        return false;
    const enum source_kind kind = source_map_kind(map);
    const uintptr_t code = unit->code + source_map_code(map);
    const struct bookkeeping book = read_again(kind, code, at->rip);
    if (book.exchanged) {
        const uint64_t rax = at->rcx;
        at->rcx = at->rax;
        at->rax = rax;
    }
    uintptr_t source = unit->source + (intptr_t)map->source;
    if (kind == SOURCE_LOOKUP)
        source = book.target_in_register ? at->rcx : context->target;
    else if (at->rcx == at->rip || at->rcx == at->rip + SYSCALL_BYTES) /* a system call left its return address there */
        at->rcx = source + (at->rcx - at->rip);
    restore_flags(context, &book, at);
    for (unsigned i = 0; i < SPILLS; i++)
        if (book.holds[i] != NOBODY && book.used >> book.holds[i] & 1)
            *register_of(at, book.holds[i]) = context->spill[i];
    at->rip = source;
    return true;
}

void exact_keep(struct context *context, struct os_context *at) {
    for (unsigned number = 0; number < 16; number++)
        context->registers.general[number] = *register_of(at, number);
    context->registers.flags = at->eflags;
}

void exact_resume(const struct context *context, struct os_context *at) {
    for (unsigned number = 0; number < 16; number++)
        *register_of(at, number) = context->registers.general[number];
    at->eflags = context->registers.flags;
    at->rip = context->resume;
}
