/* Where control goes: entries of code that indirect branches reach, branches, calls, returns, system calls. */
#include "arch/x86_64/rules.h"

#include "arch/x86_64/shadow.h"
#include "region/runtime.h"

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
void emit_entry(struct builder *builder, uintptr_t source, uint8_t flags_live) {
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
void emit_push_return(struct builder *builder, uintptr_t address) {
    EMIT(OUT, 0xff, 0x35, 0, 0, 0, 0); /* push [rip + literal] */
    builder_fixup(builder, FIXUP_LITERAL, builder_literal(builder, address));
}

/* call r/m → target into rcx (before the push: it may use rsp); push; look up */
void rule_call_indirect(struct builder *builder, const struct source_instruction *at) {
    if (builder->shadowed)
        emit_shadow_call(builder, at);
    STORE_CONTEXT(OUT, RCX, spill);
    emit_branch_target(builder, at);
    emit_push_return(builder, at->address + at->decoded.length);
    emit_lookup(builder);
}

void rule_jump_indirect(struct builder *builder, const struct source_instruction *at) {
    STORE_CONTEXT(OUT, RCX, spill);
    emit_branch_target(builder, at);
    emit_lookup(builder);
}

/* ret → pop rcx; look up       ret n → rcx = [rsp]; rsp += 8 + n; look up */
void rule_return(struct builder *builder, const struct block *block, const struct source_instruction *at) {
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

void rule_branch(struct builder *builder, const struct source_instruction *at) { /* jcc → jcc rel32 */
    EMIT(OUT, 0x0f);
    emit8(OUT, 0x80 | (at->bytes[at->decoded.opcode_offset] & 15));
    emit32(OUT, 0);
    aim_branch(builder, at);
}

void rule_loop(struct builder *builder, const struct source_instruction *at) {
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

void rule_transaction(struct builder *builder, const struct source_instruction *at) {
    /* xbegin t → eax = 0; jmp t: a transaction may always abort.  xabort outside of one does nothing. */
    if (at->bytes[at->decoded.opcode_offset] == 0xc7) {
        EMIT(OUT, 0xb8, 0, 0, 0, 0);
        map_source_as(builder, SOURCE_ARRIVING, at->decoded.target);
        emit_jump(builder, at->decoded.target);
    }
}

/* ---- system calls ---- */

/* A child on our memory has our gs base too, but must not look at the context, which goes on without it: native at
 * once. No flag changes. */
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
void rule_syscall(struct builder *builder, const struct source_instruction *at) {
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
