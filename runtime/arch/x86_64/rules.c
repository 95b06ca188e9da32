/* Translation rules, x86-64: what the program had → what the cache gets.
 *
 * All registers and rsp are the program's; gs:[…] is the thread's context.  Nothing is pushed except return addresses.
 * Code that is put in between uses registers that it saves in context slots, and leaves the flags alone unless
 * find_live_flags (translate/discover.c) has shown that nobody reads them.
 *
 *   spill[0]  rcx, from an indirect branch to its target's entry     spill[1], spill[2]  rax, rdx of a store check
 *   spill[3]  scratch of an operand out of reach, flags of a store check
 */
#include "arch/x86_64/shadow.h"
#include "arch/x86_64/ticks.h"
#include "fault/budget.h"
#include "fault/alignment.h"
#include "fault/checks.h"
#include "guard/calls.h"
#include "region/masked.h"
#include "region/rules.h"
#include "region/runtime.h"
#include "strategy/strategy.h"
#include "translate/unit.h"

#define OUT (&builder->out)
#define SPILL(i) (offsetof(struct context, spill) + 8 * (i))

/* ---- small pieces ---- */

/* op r64, [rip + literal]: 8b loads, 3b compares, 03 adds */
static void emit_literal(struct builder *builder, uint8_t opcode, unsigned reg, uint64_t value) {
    emit8(OUT, 0x48 | (reg >> 3 & 1) << 2);
    emit8(OUT, opcode);
    emit8(OUT, 0x05 | (reg & 7) << 3);
    emit32(OUT, 0);
    builder_fixup(builder, FIXUP_LITERAL, builder_literal(builder, value));
}

static uintptr_t slot_address(const struct builder *builder, uint32_t slot) {
    return (uintptr_t)&builder->arena->slots[slot & ((1u << SLOT_BITS) - 1)];
}

static void map_source_as(struct builder *builder, enum source_kind kind, uintptr_t address) {
    if (builder->map_count == MAX_MAPPED) {
        builder->full = true;
        return;
    }
    const uint32_t code = emitted(OUT) | (uint32_t)kind << SOURCE_KIND_SHIFT;
    builder->map[builder->map_count++] = (struct source_map){code, (int32_t)(address - builder->root)};
}

static void map_source(struct builder *builder, uintptr_t address) {
    builder->here = address;
    map_source_as(builder, SOURCE_INSTRUCTION, address);
}

static uintptr_t slot_target(const struct builder *builder, uint32_t slot) {
    return builder->arena->slot_targets[slot & ((1u << SLOT_BITS) - 1)];
}

static uint32_t new_slot(struct builder *builder, uintptr_t target) {
    uint32_t slot = 0;
    if (!arena_slot(builder->arena, target, &slot))
        builder->full = true;
    return slot;
}

static void emit_jump_slot(struct builder *builder, uint32_t slot) { /* jmp [rip + slot] */
    EMIT(OUT, 0xff, 0x25);
    emit32(OUT, (uint32_t)(slot_address(builder, slot) - ((uintptr_t)OUT->at + 4)));
}

/* Code elsewhere in the same arena never moves or goes: reach it directly. */
static bool in_arena(const struct builder *builder, const struct translation *known) {
    return known && known->body >= builder->arena->code && known->body < builder->arena->end;
}

/* Where code for `target` is already: a block of this unit (-1: none), or a translation.  Neither while a breakpoint
 * stands there: C decides then, each time. */
static const struct translation *known_target(const struct builder *builder, uintptr_t target, int *block) {
    const bool stop = breakpoint_at_entry(target);
    *block = stop ? -1 : builder_block_at(builder, target);
    return stop || *block >= 0 ? NULL : cache_find(target);
}

/* jmp → block of this unit, known code, or a link */
static void emit_jump(struct builder *builder, uintptr_t target) {
    int block;
    const struct translation *known = known_target(builder, target, &block);
    if (block >= 0) {
        EMIT(OUT, 0xe9, 0, 0, 0, 0);
        builder_fixup(builder, FIXUP_BLOCK, (uint32_t)block);
    } else if (in_arena(builder, known)) {
        EMIT(OUT, 0xe9);
        emit32(OUT, (uint32_t)(known->body - ((uintptr_t)OUT->at + 4)));
    } else {
        uint32_t slot = new_slot(builder, target);
        builder_cold(builder, (struct cold){.kind = COLD_LINK, .slot = slot});
        emit_jump_slot(builder, slot);
    }
}

/* The last 4 bytes emitted are the displacement of a conditional jump to where `at` leads. */
static void aim_branch(struct builder *builder, const struct source_instruction *at) {
    const uintptr_t target = at->decoded.target;
    int block;
    const struct translation *known = known_target(builder, target, &block);
    if (block >= 0) {
        builder_fixup(builder, FIXUP_BLOCK, (uint32_t)block);
    } else if (in_arena(builder, known) && !closes_loop(at)) {
        OUT->at -= 4;
        emit32(OUT, (uint32_t)(known->body - ((uintptr_t)OUT->at + 4)));
    } else {
        uint32_t slot = new_slot(builder, target);
        builder_cold(builder, (struct cold){.kind = COLD_LINK, .slot = slot});
        const enum cold_kind kind = closes_loop(at) ? COLD_LOOP : COLD_JUMP;
        builder_fixup(builder, FIXUP_COLD, builder_cold(builder, (struct cold){.kind = kind, .slot = slot}));
    }
}

/* [rip + here] := the address of the code that follows `emit_resume … resume_here`, as context.resume.  Uses rcx. */
static uint32_t emit_resume(struct builder *builder) {
    EMIT(OUT, 0x48, 0x8d, 0x0d, 0, 0, 0, 0); /* lea rcx, [rip + …] */
    uint32_t at = emitted(OUT) - 4;
    STORE_CONTEXT(OUT, RCX, resume);
    return at;
}

static void resume_here(struct builder *builder, uint32_t at) {
    if (OUT->at > OUT->end)
        return;
    uint32_t distance = emitted(OUT) - (at + 4);
    for (int b = 0; b < 4; b++)
        OUT->start[at + b] = (uint8_t)(distance >> 8 * b);
}

void emit_service(struct builder *builder, enum service service) {
    STORE_CONTEXT(OUT, RCX, spill);
    uint32_t at = emit_resume(builder);
    LOAD_CONTEXT(OUT, RCX, spill);
    emit_context_immediate(OUT, offsetof(struct context, service), service);
    emit_context_jump(OUT, offsetof(struct context, run_service));
    resume_here(builder, at);
}

/* … about the code at `address`. */
static void emit_service_at(struct builder *builder, enum service service, uintptr_t address) {
    emit_context_immediate(OUT, offsetof(struct context, argument), new_slot(builder, address));
    emit_service(builder, service);
}

static void emit_native(struct builder *builder, uintptr_t address, enum reason reason) {
    uint32_t slot = new_slot(builder, address);
    emit_context_immediate(OUT, offsetof(struct context, argument), slot);
    emit_context_immediate(OUT, offsetof(struct context, argument) + 8, reason);
    emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_NATIVE);
    emit_context_jump(OUT, offsetof(struct context, run_service));
}

/* ---- entries: code reached by indirect branches ---- */

/* Leave the entry unless control was meant to get here.  Two targets can share a place in the table: where this one is
 * not meant, flags that are dead here may be live there, so they survive.
 *     rcx = ~target + source + 1, that is 0 if they are equal */
static void emit_verify(struct builder *builder, uintptr_t source) {
    STORE_CONTEXT(OUT, RAX, spill[1]);
    LOAD_CONTEXT(OUT, RCX, target);
    emit_literal(builder, 0x8b, RAX, source);
    EMIT(OUT, 0x48, 0xf7, 0xd1);             /* not rcx */
    EMIT(OUT, 0x48, 0x8d, 0x4c, 0x01, 0x01); /* lea rcx, [rcx + rax + 1] */
    LOAD_CONTEXT(OUT, RAX, spill[1]);
    EMIT(OUT, 0xe3, 8); /* jrcxz over the miss */
    emit_context_jump(OUT, offsetof(struct context, miss));
}

/* Leave the entry if the region has been left, as rsp tells. */
static void emit_leave(struct builder *builder, bool flags_live) {
    const unsigned restore = flags_live ? 3 + 9 : 0;
    if (flags_live) {
        STORE_CONTEXT(OUT, RAX, spill[1]);
        EMIT(OUT, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
    }
    emit_context(OUT, 0x3b, RSP, offsetof(struct context, mark_rsp));
    EMIT(OUT, 0x76); /* jbe over the leave */
    emit8(OUT, (uint8_t)(restore + 8));
    for (int path = 0; path < 2; path++) {
        if (flags_live) {
            EMIT(OUT, 0x04, 0x7f, 0x9e); /* add al, 127; sahf */
            LOAD_CONTEXT(OUT, RAX, spill[1]);
        }
        if (path == 0)
            emit_context_jump(OUT, offsetof(struct context, leave));
    }
}

/* indirect branch to `source` → is it really this target? has the region been left? restore rcx
 *     spill[0] holds rcx, .target the full target */
static void emit_entry(struct builder *builder, uintptr_t source, uint8_t flags_live) {
    map_source_as(builder, SOURCE_LOOKUP, source);
    emit_verify(builder, source);
    emit_leave(builder, flags_live);
    LOAD_CONTEXT(OUT, RCX, spill);
}

void emit_entry_only(struct builder *builder, uintptr_t source, uintptr_t body) {
    emit_entry(builder, source, FLAGS_ARITHMETIC);
    EMIT(OUT, 0xe9);
    emit32(OUT, (uint32_t)(body - ((uintptr_t)OUT->at + 4)));
}

void emit_alone(struct builder *builder, const uint8_t *code, unsigned count, uintptr_t next) {
    map_source(builder, builder->root);
    emit_bytes(OUT, code, count);
    map_source_as(builder, SOURCE_ARRIVING, next);
    emit_jump(builder, next);
}

/* ---- indirect branches ---- */

/* rcx holds the target, spill[0] the program's rcx */
static void emit_lookup(struct builder *builder) {
    map_source_as(builder, SOURCE_LOOKUP, builder->here);
    STORE_CONTEXT(OUT, RCX, target);
    EMIT(OUT, 0x0f, 0xb7, 0xc9);       /* movzx ecx, cx */
    EMIT(OUT, 0x65, 0xff, 0x24, 0xcd); /* jmp gs:[rcx*8 + table] */
    emit32(OUT, TABLE_OFFSET);
}

/* rcx := what `jmp r/m` or `call r/m` wants */
static void emit_branch_target(struct builder *builder, const struct source_instruction *at) {
    if (at->decoded.memory == MEMORY_OPERAND) {
        emit_operand(OUT, 0x8b, RCX, &at->decoded, at->address, true);
        return;
    }
    unsigned reg = (at->bytes[at->decoded.modrm_offset] & 7) | (at->decoded.rex & 1) << 3;
    if (reg == RCX)
        return;
    emit8(OUT, 0x48 | reg >> 3); /* mov rcx, reg */
    EMIT(OUT, 0x8b);
    emit8(OUT, 0xc8 | (reg & 7));
}

/* call → push the original return address */
static void emit_push_return(struct builder *builder, uintptr_t address) {
    EMIT(OUT, 0xff, 0x35, 0, 0, 0, 0); /* push [rip + literal] */
    builder_fixup(builder, FIXUP_LITERAL, builder_literal(builder, address));
}

/* call r/m → target into rcx (before the push: it may use rsp); push; look up */
static void rule_call_indirect(struct builder *builder, const struct source_instruction *at) {
    if (builder->shadowed)
        emit_shadow_call(builder, at);
    STORE_CONTEXT(OUT, RCX, spill);
    emit_branch_target(builder, at);
    emit_push_return(builder, at->address + at->decoded.length);
    emit_lookup(builder);
}

static void rule_jump_indirect(struct builder *builder, const struct source_instruction *at) {
    STORE_CONTEXT(OUT, RCX, spill);
    emit_branch_target(builder, at);
    emit_lookup(builder);
}

/* ret → pop rcx; look up       ret n → rcx = [rsp]; rsp += 8 + n; look up */
static void rule_return(struct builder *builder, const struct block *block, const struct source_instruction *at) {
    if (builder->shadowed)
        emit_shadow_return(builder, block, at);
    else
        STORE_CONTEXT(OUT, RCX, spill);
    if (at->decoded.stack_bytes == 8) {
        EMIT(OUT, 0x59);
    } else {
        EMIT(OUT, 0x48, 0x8b, 0x0c, 0x24, 0x48, 0x8d, 0xa4, 0x24); /* mov rcx, [rsp]; lea rsp, [rsp + …] */
        emit32(OUT, at->decoded.stack_bytes);
    }
    emit_lookup(builder);
}

/* ---- direct branches ---- */

static void rule_branch(struct builder *builder, const struct source_instruction *at) { /* jcc → jcc rel32 */
    EMIT(OUT, 0x0f);
    emit8(OUT, 0x80 | (at->bytes[at->decoded.opcode_offset] & 15));
    emit32(OUT, 0);
    aim_branch(builder, at);
}

static void rule_loop(struct builder *builder, const struct source_instruction *at) {
    /* loop/jrcxz t (no long form) → loop 1f; jmp 2f; 1: jmp t; 2: */
    if (at->decoded.address_size_override)
        EMIT(OUT, 0x67);
    emit8(OUT, at->bytes[at->decoded.opcode_offset]);
    EMIT(OUT, 2);
    map_source_as(builder, SOURCE_ARRIVING, at->address + at->decoded.length);
    EMIT(OUT, 0xeb, 5);
    map_source_as(builder, SOURCE_ARRIVING, at->decoded.target);
    EMIT(OUT, 0xe9, 0, 0, 0, 0);
    aim_branch(builder, at);
}

static void rule_transaction(struct builder *builder, const struct source_instruction *at) {
    /* xbegin t → eax = 0; jmp t: a transaction may always abort.  xabort outside of one does nothing. */
    if (at->bytes[at->decoded.opcode_offset] == 0xc7) {
        EMIT(OUT, 0xb8, 0, 0, 0, 0);
        map_source_as(builder, SOURCE_ARRIVING, at->decoded.target);
        emit_jump(builder, at->decoded.target);
    }
}

/* ---- system calls ---- */

/* A child on our memory has our gs base too, but must not look at the context, which goes on without it: native at once.
 * No flag changes. */
static void emit_shared_memory_child(struct builder *builder, uintptr_t next) {
    EMIT(OUT, 0x0f, 0x05);
    map_source_as(builder, SOURCE_ARRIVING, next);
    emit_literal(builder, 0x8b, RCX, next);
    EMIT(OUT, 0x48, 0x91, 0xe3, 10, 0x48, 0x91); /* xchg rax, rcx; jrcxz 1f; xchg rax, rcx */
    emit_context_jump(OUT, offsetof(struct context, after_syscall));
    EMIT(OUT, 0x48, 0x91, 0xff, 0xe1); /* 1: xchg rax, rcx; jmp rcx */
}

/* syscall → C before it (which may send us on to elsewhere); syscall; rcx = where the program thinks it is; C behind it
 *     if wanted.  SHARED_MEMORY_CHILD bytes behind the first lies another, for C to choose. */
static void rule_syscall(struct builder *builder, const struct source_instruction *at) {
    uintptr_t next = at->address + at->decoded.length;
    STORE_CONTEXT(OUT, RCX, spill);
    EMIT(OUT, 0x48, 0x8d, 0x0d, 0, 0, 0, 0);
    uint32_t after = emitted(OUT) - 4;
    STORE_CONTEXT(OUT, RCX, after_syscall);
    emit_literal(builder, 0x8b, RCX, next);
    STORE_CONTEXT(OUT, RCX, target);
    uint32_t resume = emit_resume(builder);
    LOAD_CONTEXT(OUT, RCX, spill);
    emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_SYSCALL);
    emit_context_jump(OUT, offsetof(struct context, run_service));
    resume_here(builder, resume);
    const uint32_t plain = emitted(OUT);
    EMIT(OUT, 0x0f, 0x05);
    map_source_as(builder, SOURCE_ARRIVING, next);
    emit_literal(builder, 0x8b, RCX, next);
    emit_context_jump(OUT, offsetof(struct context, after_syscall));
    map_source(builder, at->address);
    if (emitted(OUT) != plain + SHARED_MEMORY_CHILD)
        builder->full = true;
    emit_shared_memory_child(builder, next);
    resume_here(builder, after);
}

/* ---- stores ---- */

static bool store_is_plain(const struct instruction *decoded) {
    return decoded->memory == MEMORY_OPERAND && decoded->operand_bytes <= OVERHANG_BYTES && !decoded->bit_offset &&
           decoded->stack == STACK_NONE && decoded->displacement_size != 8;
}

/* Frames younger than the checkpoint need no undo.  [rsp + d] is in the running function's frame; in a unit that holds a
 * region's entry it may be above the mark, and so may be what lies above the function's return address: arguments, which
 * a region that goes on in another function by a jump has from its caller. */
static bool store_is_young(const struct builder *builder, const struct source_instruction *at) {
    const struct instruction *decoded = &at->decoded;
    return decoded->memory == MEMORY_OPERAND && decoded->base == RSP && decoded->index == REG_NONE &&
           !decoded->segment && !builder->has_mark && !builder->marked_within && !decoded->bit_offset && decoded->stack == STACK_NONE &&
           (at->depth == UNKNOWN_DEPTH || decoded->displacement + decoded->operand_bytes <= at->depth);
}

/* rdx := the address of the memory operand, from the program's registers, which are kept: rax in spill[1], rdx in
 * spill[2], flags that somebody reads in spill[3].  Result: whether there are such. */
static bool emit_filter(struct builder *builder, const struct source_instruction *at) {
    const bool flags = (at->decoded.flags_read | at->flags_live) & FLAGS_ARITHMETIC;
    STORE_CONTEXT(OUT, RAX, spill[1]);
    STORE_CONTEXT(OUT, RDX, spill[2]);
    emit_operand(OUT, 0x8d, RDX, &at->decoded, at->address, false);
    if (flags) {
        EMIT(OUT, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
        STORE_CONTEXT(OUT, RAX, spill[3]);
    }
    if (at->decoded.segment == 0x64)
        emit_context(OUT, 0x03, RDX, offsetof(struct context, owner));
    return flags;
}

static void emit_filter_restore(struct builder *builder, bool flags) {
    if (flags) {
        LOAD_CONTEXT(OUT, RAX, spill[3]);
        EMIT(OUT, 0x04, 0x7f, 0x9e); /* add al, 127; sahf */
    }
    LOAD_CONTEXT(OUT, RDX, spill[2]);
    LOAD_CONTEXT(OUT, RAX, spill[1]);
}

/* Not zero → cold; else on, with everything as before the filter.  Result: the cold part. */
static uint32_t emit_filter_end(struct builder *builder, enum cold_kind kind, uint32_t index, bool flags) {
    EMIT(OUT, 0x0f, 0x85, 0, 0, 0, 0); /* jne cold */
    uint32_t cold = builder_cold(builder, (struct cold){.kind = kind, .instruction = index, .flags_saved = flags});
    builder_fixup(builder, FIXUP_COLD, cold);
    emit_filter_restore(builder, flags);
    builder->colds[cold].back = emitted(OUT);
    return cold;
}

/* store → rdx = tag of its granule in this epoch; known to the filter? else cold: log; then the store itself.
 * Result: the cold part. */
static uint32_t emit_store_check(struct builder *builder, uint32_t index, const struct source_instruction *at) {
    const bool flags = emit_filter(builder, at);
    const uint32_t hit = shadow_reaches(builder, &at->decoded) ? emit_shadow_store(builder, at) : 0;
    EMIT(OUT, 0x48, 0xc1, 0xea, GRANULE_SHIFT); /* shr rdx, 9 */
    emit_context(OUT, 0x0b, RDX, offsetof(struct context, epoch));
    EMIT(OUT, 0x89, 0xd0, 0x25); /* mov eax, edx; and eax, entries - 1 */
    emit32(OUT, FILTER_ENTRIES - 1);
    EMIT(OUT, 0x65, 0x48, 0x3b, 0x14, 0xc5); /* cmp rdx, gs:[rax*8 + filter] */
    emit32(OUT, FILTER_OFFSET);
    if (hit)
        emit_shadow_hit(builder, hit);
    return emit_filter_end(builder, COLD_LOG, index, flags);
}

static void emit_address(struct builder *builder, uint32_t offset) { /* lea rdx, [the unit + offset] */
    EMIT(OUT, 0x48, 0x8d, 0x15);
    emit32(OUT, offset - (emitted(OUT) + 4));
}

/* … → everything as before the check; address and size to C; back to the store, or, where C has done in its place what
 * a locked instruction does, behind it */
static void emit_cold_log(struct builder *builder, const struct cold *cold) {
    const struct source_instruction *at = &builder->instructions[cold->instruction];
    emit_filter_restore(builder, cold->flags_saved);
    emit_operand(OUT, 0x8d, RDX, &at->decoded, at->address, false);
    STORE_CONTEXT(OUT, RDX, argument[0]);
    emit_address(builder, cold->back);
    STORE_CONTEXT(OUT, RDX, resume);
    if (at->decoded.lock) {
        emit_literal(builder, 0x8b, RDX, at->address);
        STORE_CONTEXT(OUT, RDX, target);
        emit_address(builder, cold->behind);
        STORE_CONTEXT(OUT, RDX, behind);
    }
    LOAD_CONTEXT(OUT, RDX, spill[2]);
    const bool masked = store_is_masked(&at->decoded, at->bytes);
    if (masked)
        emit_context_immediate(OUT, offsetof(struct context, target), new_slot(builder, at->address));
    const bool reaches = !masked && shadow_reaches(builder, &at->decoded);
    emit_context_immediate(OUT, offsetof(struct context, argument) + 8,
                           at->decoded.operand_bytes | (at->decoded.segment == 0x64 ? LOG_SEGMENT : 0) |
                               (at->decoded.lock ? LOG_ATOMIC : 0) | (masked ? LOG_MASKED : 0) |
                               (reaches ? LOG_REACH : 0));
    emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_LOG);
    emit_context_jump(OUT, offsetof(struct context, run_service));
}


/* … → everything as before the filter; C looks at the instruction, and goes on at it or raises its fault */
static void emit_cold_check(struct builder *builder, const struct cold *cold) {
    emit_filter_restore(builder, cold->flags_saved);
    emit_address(builder, cold->back);
    STORE_CONTEXT(OUT, RDX, resume);
    LOAD_CONTEXT(OUT, RDX, spill[2]);
    emit_context_immediate(OUT, offsetof(struct context, argument),
                           new_slot(builder, builder->instructions[cold->instruction].address));
    emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_CHECK);
    emit_context_jump(OUT, offsetof(struct context, run_service));
}

/* Whether C need only be asked about addresses that are in the first 64 KiB, or beyond what user code can have. */
static bool filter_decides(const struct source_instruction *at) {
    const struct instruction *decoded = &at->decoded;
    return at->checks == CHECK_FAULT && decoded->memory == MEMORY_OPERAND && decoded->stack == STACK_NONE &&
           !decoded->bit_offset && decoded->displacement_size != 8 && !is_division(decoded, at->bytes) &&
           alignment_wanted(decoded, at->bytes) == 1;
}

static unsigned divisor_register(const struct source_instruction *at) {
    return (at->bytes[at->decoded.modrm_offset] & 7) | (at->decoded.rex & 1) << 3;
}

/* div, idiv of 32 or 64 bits by a register that no dividend is in, and that can be a base without more bytes. */
static bool division_is_plain(const struct source_instruction *at) {
    const unsigned divisor = divisor_register(at);
    return at->checks == CHECK_FAULT && is_division(&at->decoded, at->bytes) && at->decoded.memory == MEMORY_NONE &&
           at->bytes[at->decoded.opcode_offset] == 0xf7 && at->bytes[0] != 0x66 && divisor != RAX && divisor != RDX &&
           (divisor & 7) != RSP;
}

static void emit_cold_branch(struct builder *builder, uint8_t condition, uint32_t cold) {
    EMIT(OUT, 0x0f);
    emit8(OUT, 0x80 | condition);
    emit32(OUT, 0);
    builder_fixup(builder, FIXUP_COLD, cold);
}

/* division → surely without fault? else C
 *     without sign  the upper half of the dividend is below the divisor, for else the quotient does not fit
 *     with sign     the upper half is but the sign of the lower one, and the divisor is neither 0 nor -1 */
static void emit_division_check(struct builder *builder, uint32_t index, const struct source_instruction *at) {
    enum { BELOW_EQUAL = 6, NOT_BELOW = 3, NOT_EQUAL = 5 };
    const bool flags = at->flags_live & FLAGS_ARITHMETIC, is_signed = at->bytes[at->decoded.modrm_offset] & 8;
    const unsigned divisor = divisor_register(at);
    const uint8_t wide = 0x40 | (at->decoded.rex & 8), by_divisor = wide | (uint8_t)(divisor >> 3);
    const uint32_t cold = builder_cold(builder, (struct cold){.kind = COLD_CHECK, .instruction = index, .flags_saved = flags});
    STORE_CONTEXT(OUT, RAX, spill[1]);
    STORE_CONTEXT(OUT, RDX, spill[2]);
    if (flags) {
        EMIT(OUT, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
        STORE_CONTEXT(OUT, RAX, spill[3]);
        LOAD_CONTEXT(OUT, RAX, spill[1]);
    }
    if (is_signed) {
        emit8(OUT, wide); /* sar rax, all bits */
        EMIT(OUT, 0xc1, 0xf8, 63);
        emit8(OUT, wide); /* xor rax, rdx */
        EMIT(OUT, 0x31, 0xd0);
        emit_cold_branch(builder, NOT_EQUAL, cold);
        emit8(OUT, by_divisor); /* lea rax, [divisor + 1] */
        EMIT(OUT, 0x8d);
        emit8(OUT, 0x40 | (divisor & 7));
        EMIT(OUT, 1);
        emit8(OUT, wide); /* cmp rax, 1 */
        EMIT(OUT, 0x83, 0xf8, 1);
        emit_cold_branch(builder, BELOW_EQUAL, cold);
    } else {
        emit8(OUT, by_divisor); /* cmp rdx, divisor */
        EMIT(OUT, 0x3b);
        emit8(OUT, 0xc0 | RDX << 3 | (divisor & 7));
        emit_cold_branch(builder, NOT_BELOW, cold);
    }
    emit_filter_restore(builder, flags);
    builder->colds[cold].back = emitted(OUT);
}

/* an instruction where a fault was reported, or of which the user has said what must hold → C first.
 *     (address - 64K) >> 47 is 0 for ordinary addresses, and for the 64 KiB behind them, which the trap tells */
static void emit_check(struct builder *builder, uint32_t index, const struct source_instruction *at) {
    if (division_is_plain(at)) {
        emit_division_check(builder, index, at);
        return;
    }
    if (!filter_decides(at)) {
        emit_service_at(builder, SERVICE_CHECK, at->address);
        return;
    }
    const bool flags = emit_filter(builder, at);
    EMIT(OUT, 0x48, 0x81, 0xea, 0, 0, 1, 0, 0x48, 0xc1, 0xea, 47); /* sub rdx, 0x10000; shr rdx, 47 */
    emit_filter_end(builder, COLD_CHECK, index, flags);
}

enum { NO_COLD = MAX_COLDS };

static bool may_store(const struct source_instruction *at) {
    if (at->decoded.memory == MEMORY_OTHER)
        return is_other(at, OTHER_MOVDIR64B);
    return at->decoded.access & ACCESS_WRITE && at->decoded.memory != MEMORY_NONE;
}

/* Result: the cold part of the check, if there is one. */
static uint32_t emit_undo(struct builder *builder, uint32_t index, const struct source_instruction *at) {
    if (!may_store(at))
        return NO_COLD;
    if (store_is_young(builder, at))
        return NO_COLD;
    if (store_is_plain(&at->decoded))
        return emit_store_check(builder, index, at);
    emit_service_at(builder, SERVICE_LOG_OTHER, at->address);
    return NO_COLD;
}

/* ---- accesses that a rule wants checked ---- */

/* Back to what was before: see emit_guard. */
static void emit_restore(struct builder *builder, bool flags) {
    if (flags) {
        LOAD_CONTEXT(OUT, RAX, spill[3]);
        EMIT(OUT, 0x04, 0x7f, 0x9e); /* add al, 127; sahf */
    }
    LOAD_CONTEXT(OUT, RDX, spill[2]);
    LOAD_CONTEXT(OUT, RAX, spill[1]);
}

/* Frames, globals and thread-local memory are no heap blocks. */
static bool may_be_guarded(const struct instruction *decoded) {
    const bool absolute = decoded->base == REG_NONE && decoded->index == REG_NONE;
    return decoded->memory == MEMORY_STRING ||
           (decoded->memory == MEMORY_OPERAND && decoded->access && decoded->operand_bytes <= OVERHANG_BYTES &&
            decoded->base != RSP && !absolute && !decoded->segment);
}

/* access → rdx = its address from the arena's beginning on; in there? then rax = the span of its page; not in that? then C;
 * the access itself */
static void emit_guard(struct builder *builder, const struct source_instruction *at) {
    const bool flags = (at->decoded.flags_read | at->flags_live) & FLAGS_ARITHMETIC;
    if (at->decoded.memory == MEMORY_STRING || at->decoded.bit_offset) {
        emit_service_at(builder, SERVICE_GUARD, at->address);
        return;
    }
    STORE_CONTEXT(OUT, RAX, spill[1]);
    STORE_CONTEXT(OUT, RDX, spill[2]);
    emit_operand(OUT, 0x8d, RDX, &at->decoded, at->address, false);
    if (flags) {
        EMIT(OUT, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
        STORE_CONTEXT(OUT, RAX, spill[3]);
    }
    emit_literal(builder, 0x2b, RDX, guards()->arena);
    emit_literal(builder, 0x3b, RDX, guards()->arena_size);
    EMIT(OUT, 0x0f, 0x83, 0, 0, 0, 0); /* jae 2f */
    const uint32_t outside = emitted(OUT);
    EMIT(OUT, 0x89, 0xd0, 0xc1, 0xe8, 10, 0x83, 0xe0, 0xfc); /* mov eax, edx; shr eax, 10; and eax, -4 */
    emit_literal(builder, 0x03, RAX, (uintptr_t)guards()->spans);
    EMIT(OUT, 0x81, 0xe2, 0xff, 0x0f, 0, 0); /* and edx, 4095 */
    EMIT(OUT, 0x66, 0x3b, 0x10, 0x72, 9);    /* cmp dx, [rax]; jb 1f */
    EMIT(OUT, 0x83, 0xc2);                   /* add edx, bytes */
    emit8(OUT, (uint8_t)at->decoded.operand_bytes);
    EMIT(OUT, 0x66, 0x3b, 0x50, 2, 0x76, 0); /* cmp dx, [rax + 2]; jbe 2f */
    const uint32_t within = emitted(OUT);
    emit_restore(builder, flags); /* 1: */
    emit_service_at(builder, SERVICE_GUARD, at->address);
    EMIT(OUT, 0xeb, 0); /* jmp 3f */
    const uint32_t done = emitted(OUT);
    emit_restore(builder, flags); /* 2: */
    if (OUT->at > OUT->end)
        return;
    for (int b = 0; b < 4; b++)
        OUT->start[outside - 4 + b] = (uint8_t)((done - outside) >> 8 * b);
    OUT->start[within - 1] = (uint8_t)(done - within);
    OUT->start[done - 1] = (uint8_t)(emitted(OUT) - done); /* 3: */
}

/* ---- ordinary instructions ---- */

/* A register that the instruction does not touch, not rsp or rbp. */
static unsigned free_register(const struct instruction *decoded) {
    static const uint8_t candidates[] = {RAX, RCX, RDX, RBX, RSI, RDI};
    for (unsigned i = 0; i < sizeof candidates; i++)
        if (!((decoded->reads | decoded->writes) >> candidates[i] & 1))
            return candidates[i];
    return RDI; /* cannot be: no instruction with a RIP-relative operand names six registers */
}

/* insn [rip + d], out of reach → mov scratch, address; insn [scratch]; restore.  All prefixes but the B bits stay. */
static void emit_out_of_reach(struct builder *builder, const struct source_instruction *at, uint64_t target) {
    const struct instruction *decoded = &at->decoded;
    unsigned reg = free_register(decoded);
    emit_context(OUT, 0x89, reg, SPILL(3));
    emit_literal(builder, 0x8b, reg, target);
    uint8_t bytes[15];
    unsigned count = 0;
    for (unsigned i = 0; i < decoded->length; i++)
        if (i < decoded->displacement_offset || i >= decoded->displacement_offset + 4u)
            bytes[count++] = at->bytes[i];
    bytes[decoded->modrm_offset] = (uint8_t)((bytes[decoded->modrm_offset] & 0x38) | reg); /* mod 0, rm reg */
    if (decoded->rex)
        bytes[decoded->rex_offset] &= (uint8_t)~1;
    unsigned vex = decoded->opcode_offset - (decoded->vex == 3 ? 2u : 3u);
    if (decoded->vex == 3 || decoded->vex == 4)
        bytes[vex] |= 0x20; /* inverted B */
    emit_bytes(OUT, bytes, count);
    map_source_as(builder, SOURCE_RELOAD, at->address + decoded->length);
    emit_context(OUT, 0x8b, reg, SPILL(3));
}

static void emit_copy(struct builder *builder, const struct source_instruction *at) {
    const struct instruction *decoded = &at->decoded;
    if (!decoded->rip_relative) {
        emit_bytes(OUT, at->bytes, decoded->length);
        return;
    }
    uint64_t target = at->address + decoded->length + (int64_t)decoded->displacement;
    if (decoded->address_size_override)
        target = (uint32_t)target;
    int64_t distance = (int64_t)(target - ((uintptr_t)OUT->at + decoded->length));
    if (!fits32(distance)) {
        emit_out_of_reach(builder, at, target);
        return;
    }
    uint32_t displacement = (uint32_t)distance;
    emit_bytes(OUT, at->bytes, decoded->displacement_offset);
    emit32(OUT, displacement);
    unsigned done = decoded->displacement_offset + 4u;
    emit_bytes(OUT, at->bytes + done, decoded->length - done);
}

/* rsp from anywhere → is it still the region's stack?  From the frame pointer, as epilogues do, it is; and below where
 * it was, where room for an array or a frame is taken off it. */
static bool stack_needs_check(const struct source_instruction *at) {
    const struct instruction *decoded = &at->decoded;
    const uint8_t opcode = at->bytes[decoded->opcode_offset];
    if (decoded->stack != STACK_LOADED)
        return false;
    bool from_rbp = decoded->memory == MEMORY_NONE && decoded->reads == 1u << RBP;
    bool lea_rbp = decoded->memory == MEMORY_OPERAND && decoded->access == ACCESS_NONE && decoded->base == RBP &&
                   decoded->index == REG_NONE;
    bool subtracted = decoded->rex & 8 && (opcode == 0x29 || opcode == 0x2b); /* sub rsp, r/m */
    return !from_rbp && !lea_rbp && !subtracted && !is_other(at, OTHER_ENTER);
}

/* rdfsbase → itself; rdgsbase r → mov r, 0: what the program set there, or it would not be in a region */
static void rule_read_base(struct builder *builder, const struct source_instruction *at) {
    const uint8_t modrm = at->bytes[at->decoded.modrm_offset];
    if (modrm < 0xc8) {
        emit_copy(builder, at);
        return;
    }
    emit8(OUT, 0x40 | (at->decoded.rex & 1));
    emit8(OUT, 0xb8 | (modrm & 7));
    emit32(OUT, 0);
}

static void rule_ordinary(struct builder *builder, uint32_t index, const struct source_instruction *at) {
    const bool check = stack_needs_check(at);
    const uint32_t cold = emit_undo(builder, index, at);
    if (builder->shadowed)
        emit_shadow_drop(builder, at);
    if (check)
        STORE_CONTEXT(OUT, RSP, argument[1]);
    emit_copy(builder, at);
    if (cold != NO_COLD)
        builder->colds[cold].behind = emitted(OUT);
    if (check) {
        map_source_as(builder, SOURCE_ARRIVING, at->address + at->decoded.length);
        emit_service_at(builder, SERVICE_STACK, at->address + at->decoded.length);
    }
}

/* ---- blocks ---- */

static void emit_instruction(struct builder *builder, const struct block *block, uint32_t index) {
    const struct source_instruction *at = &builder->instructions[index];
    map_source(builder, at->address);
    if (at->checks)
        emit_check(builder, index, at);
    if (may_be_guarded(&at->decoded) && is_guarded_access(at->address))
        emit_guard(builder, at);
    switch (at->decoded.flow) {
    case FLOW_NEXT:
        if (reads_base(at))
            rule_read_base(builder, at);
        else
            rule_ordinary(builder, index, at);
        break;
    case FLOW_TRAP: /* raises its signal where it stands; the handler knows the original address */
        emit_copy(builder, at);
        break;
    case FLOW_JUMP:
        if (closes_loop(at) && builder_block_at(builder, at->decoded.target) < 0)
            emit_tick(builder, at->flags_live & FLAGS_ARITHMETIC);
        emit_jump(builder, at->decoded.target);
        break;
    case FLOW_BRANCH:
        rule_branch(builder, at);
        break;
    case FLOW_LOOP:
        rule_loop(builder, at);
        break;
    case FLOW_CALL:
        if (budgets_count())
            emit_tick(builder, at->flags_live & FLAGS_ARITHMETIC);
        if (builder->shadowed)
            emit_shadow_call(builder, at);
        emit_push_return(builder, at->address + at->decoded.length);
        map_source_as(builder, SOURCE_ARRIVING, at->decoded.target);
        emit_jump(builder, at->decoded.target);
        break;
    case FLOW_CALL_INDIRECT:
        emit_indirect_tick(builder, index);
        rule_call_indirect(builder, at);
        break;
    case FLOW_JUMP_INDIRECT:
        emit_indirect_tick(builder, index);
        rule_jump_indirect(builder, at);
        break;
    case FLOW_RETURN:
        rule_return(builder, block, at);
        break;
    case FLOW_SYSCALL:
        rule_syscall(builder, at);
        break;
    case FLOW_TRANSACTION:
        rule_transaction(builder, at);
        break;
    default:
        emit_native(builder, at->address, REASON_UNSUPPORTED);
        break;
    }
}

/* a region's entry → checkpoint (arch/x86_64/entry.S: mark_region); the gate from native code comes in behind it */
static void emit_mark(struct builder *builder, const struct block *block) {
    STORE_CONTEXT(OUT, RCX, spill);
    emit_literal(builder, 0x8b, RCX, (uintptr_t)patch_state_of(block->mark));
    STORE_CONTEXT(OUT, RCX, argument[0]);
    emit_literal(builder, 0x8b, RCX, (uintptr_t)block->mark);
    STORE_CONTEXT(OUT, RCX, argument[1]);
    uint32_t at = emit_resume(builder);
    LOAD_CONTEXT(OUT, RCX, spill);
    emit_context_jump(OUT, offsetof(struct context, mark_region));
    resume_here(builder, at);
    builder->gate[block - builder->blocks] = emitted(OUT);
}

/* Ask C about `source` if a 32-bit field of the context is not 0.  Flags are left alone. */
static void emit_request(struct builder *builder, uintptr_t source, size_t field, enum service service) {
    STORE_CONTEXT(OUT, RCX, spill);
    emit_context(OUT, 0x8b, RCX, field);
    EMIT(OUT, 0x67, 0xe3, 0); /* jecxz over the request */
    const uint32_t from = emitted(OUT);
    LOAD_CONTEXT(OUT, RCX, spill);
    emit_service_at(builder, service, source);
    if (OUT->at <= OUT->end)
        OUT->start[from - 1] = (uint8_t)(emitted(OUT) - from);
    LOAD_CONTEXT(OUT, RCX, spill);
}

/* the entry of a function that is undone as an operation while other threads are alive → C, if there are any; it does
 * what the function does, or goes on here.  Of one that guards blocks → C, always. */
static void emit_hook(struct builder *builder, uintptr_t source) {
    if (is_guard_entry(source))
        emit_service_at(builder, SERVICE_HOOK, source);
    else
        emit_request(builder, source, offsetof(struct context, exact), SERVICE_HOOK);
}

/* a slice begins → C makes the checkpoint; it ends → C removes it, if there may be one */
static void emit_slice(struct builder *builder, uintptr_t source) {
    if (rule_at(RULE_SLICE, source))
        emit_service_at(builder, SERVICE_SLICE, source);
    else
        emit_request(builder, source, offsetof(struct context, slices), SERVICE_SLICE);
}

void emit_block(struct builder *builder, struct block *block, uintptr_t falls_to) {
    builder->here = block->start;
    if (block->wants_entry) {
        block->entry = emitted(OUT) + 1;
        emit_entry(builder, block->start, block->flags_live);
    }
    map_source(builder, block->start);
    block->body = emitted(OUT);
    if (block->mark)
        emit_mark(builder, block);
    if (block->mark && builder->shadowed)
        emit_shadow_entry(builder);
    if (block->mark && strategy_wants_entry(block->mark))
        emit_service(builder, SERVICE_ENTERED);
    if (block->slice)
        emit_slice(builder, block->start);
    if (block->counts)
        emit_tick(builder, block->flags_live);
    if (block->hook)
        emit_hook(builder, block->start);
    for (uint32_t i = 0; i < block->count; i++)
        emit_instruction(builder, block, block->first + i);
    if (block->stop) {
        map_source(builder, block->next);
        emit_native(builder, block->next, block->stop);
        return;
    }
    bool is_call = false;
    if (block->count) {
        uint8_t flow = builder->instructions[block->first + block->count - 1].decoded.flow;
        is_call = flow == FLOW_CALL || flow == FLOW_CALL_INDIRECT;
    }
    int next = block->next ? builder_block_at(builder, block->next) : -1;
    bool adjacent = next >= 0 && block->next == falls_to && !builder->blocks[next].wants_entry;
    if (block->next && !is_call && !adjacent) {
        map_source_as(builder, SOURCE_ARRIVING, block->next);
        emit_jump(builder, block->next);
    }
}

/* ---- cold parts ---- */

void emit_cold(struct builder *builder, struct cold *cold) {
    cold->at = emitted(OUT);
    builder->here = cold->source;
    if (cold->kind == COLD_LOG || cold->kind == COLD_CHECK)
        map_source_as(builder, SOURCE_LOGGING, cold->source);
    else if (cold->kind == COLD_TICK)
        map_source(builder, cold->source);
    else
        map_source_as(builder, SOURCE_ARRIVING, slot_target(builder, cold->slot));
    switch (cold->kind) {
    case COLD_LOG:
        emit_cold_log(builder, cold);
        break;
    case COLD_CHECK:
        emit_cold_check(builder, cold);
        break;
    case COLD_LINK: /* first time through a link → C finds the code and sets the slot */
        emit_context_immediate(OUT, offsetof(struct context, argument), cold->slot);
        emit_context_immediate(OUT, offsetof(struct context, service), SERVICE_LINK);
        emit_context_jump(OUT, offsetof(struct context, run_service));
        break;
    case COLD_TICK:
        emit_cold_tick(builder, cold);
        break;
    case COLD_LOOP:
        builder->here = slot_target(builder, cold->slot);
        emit_tick(builder, true);
        emit_jump_slot(builder, cold->slot);
        break;
    case COLD_JUMP:
        emit_jump_slot(builder, cold->slot);
        break;
    }
}
