#include "arch/x86_64/shadow.h"

#include "fault/stack.h"

#define OUT (&builder->out)
#define ENTRY(field) (SHADOW_OFFSET + offsetof(struct shadow_call, field))

_Static_assert(SHADOW_OFFSET + SHADOW_BYTES <= CONTEXT_BYTES, "it lies in the context's slot");

enum { LOAD = 0x8b, STORE = 0x89, JB = 0x72, JRCXZ = 0xe3, JMP = 0xeb };

/* op reg, gs:[index * 2 + offset] */
static void emit_entry_field(struct builder *builder, uint8_t opcode, unsigned reg, unsigned index, size_t offset) {
    EMIT(OUT, 0x65, 0x48);
    emit8(OUT, opcode);
    emit8(OUT, (uint8_t)(0x04 | reg << 3));
    emit8(OUT, (uint8_t)(0x45 | index << 3));
    emit32(OUT, (uint32_t)offset);
}

/* call → entry := {rsp, return address, rbp}; the call.  Of `call next; next: pop`, which asks where it is, none. */
void emit_shadow_call(struct builder *builder, const struct source_instruction *at) {
    const uintptr_t next = at->address + at->decoded.length;
    if (at->decoded.flow == FLOW_CALL && at->decoded.target == next)
        return;
    STORE_CONTEXT(OUT, RCX, spill[0]);
    STORE_CONTEXT(OUT, RAX, spill[1]);
    EMIT(OUT, 0x0f, 0xb7, 0xcc);             /* movzx ecx, sp */
    EMIT(OUT, 0x48, 0x8b, 0x05, 0, 0, 0, 0); /* mov rax, [rip + literal] */
    builder_fixup(builder, FIXUP_LITERAL, builder_literal(builder, next));
    emit_entry_field(builder, STORE, RSP, RCX, ENTRY(rsp));
    emit_entry_field(builder, STORE, RAX, RCX, ENTRY(return_address));
    emit_entry_field(builder, STORE, RBP, RCX, ENTRY(rbp));
    LOAD_CONTEXT(OUT, RAX, spill[1]);
    LOAD_CONTEXT(OUT, RCX, spill[0]);
}

/* Where to, land says. */
static uint32_t emit_short_jump(struct builder *builder, uint8_t opcode) {
    emit8(OUT, opcode);
    emit8(OUT, 0);
    return emitted(OUT);
}

static void land(struct builder *builder, uint32_t behind_jump) {
    if (OUT->at <= OUT->end)
        OUT->start[behind_jump - 1] = (uint8_t)(emitted(OUT) - behind_jump);
}

/* a region's entry → entry := {rsp + 8, [rsp], rbp} */
void emit_shadow_entry(struct builder *builder) {
    STORE_CONTEXT(OUT, RCX, spill[0]);
    STORE_CONTEXT(OUT, RAX, spill[1]);
    EMIT(OUT, 0x48, 0x8d, 0x44, 0x24, 0x08); /* lea rax, [rsp + 8] */
    EMIT(OUT, 0x0f, 0xb7, 0xc8);             /* movzx ecx, ax */
    emit_entry_field(builder, STORE, RAX, RCX, ENTRY(rsp));
    EMIT(OUT, 0x48, 0x8b, 0x04, 0x24); /* mov rax, [rsp] */
    emit_entry_field(builder, STORE, RAX, RCX, ENTRY(return_address));
    emit_entry_field(builder, STORE, RBP, RCX, ENTRY(rbp));
    LOAD_CONTEXT(OUT, RAX, spill[1]);
    LOAD_CONTEXT(OUT, RCX, spill[0]);
}

/* ---- returns ---- */

enum { OWN_JUMP = 2 }; /* beside RETURN_POPS_RBP */

static bool is_from_frame(const struct instruction *decoded) {
    return decoded->stack == STACK_LEAVE || (decoded->stack == STACK_LOADED && !decoded->stack_bytes &&
                                             decoded->memory == MEMORY_NONE && decoded->reads == 1u << RBP);
}

/* Backwards over the block: has it popped rbp?  Has it put itself there what the ret takes? */
static unsigned kind_of(const struct builder *builder, const struct block *block, const struct source_instruction *at) {
    const struct source_instruction *const first = &builder->instructions[block->first];
    int64_t slot = 0; /* of the return address, from rsp */
    unsigned kind = 0;
    for (; at > first; at--) {
        const struct instruction *decoded = &at[-1].decoded;
        const bool is_stored = decoded->memory == MEMORY_OPERAND && decoded->access & ACCESS_WRITE &&
                               decoded->base == RSP && decoded->index == REG_NONE && decoded->displacement == slot;
        if (is_stored && decoded->stack == STACK_NONE)
            return kind | OWN_JUMP;
        if ((decoded->stack == STACK_POP || decoded->stack == STACK_LEAVE) && decoded->writes >> RBP & 1)
            kind |= RETURN_POPS_RBP;
        if (is_from_frame(decoded))
            break;
        if (decoded->stack == STACK_PUSH && !slot)
            return kind | OWN_JUMP;
        if (decoded->stack == STACK_LOADED)
            return kind | OWN_JUMP;
        if (decoded->stack == STACK_PUSH)
            slot -= decoded->stack_bytes;
        else if (decoded->stack == STACK_POP)
            slot += decoded->stack_bytes;
        else if (decoded->stack == STACK_ADJUST)
            break;
    }
    return kind;
}

/* rax := where the table has the slot of the ret */
static void emit_index(struct builder *builder) {
    EMIT(OUT, 0x48, 0x8d, 0x44, 0x24, 0x08); /* lea rax, [rsp + 8] */
    EMIT(OUT, 0x0f, 0xb7, 0xc0);             /* movzx eax, ax */
}

/* The entry of the slot at rsp is no call's any more. */
static void emit_forget(struct builder *builder) {
    STORE_CONTEXT(OUT, RAX, spill[1]);
    emit_index(builder);
    emit_entry_field(builder, STORE, RAX, RAX, ENTRY(rsp)); /* no rsp is that small */
    LOAD_CONTEXT(OUT, RAX, spill[1]);
}

void emit_shadow_drop(struct builder *builder, const struct source_instruction *at) {
    if (at->depth == 0 && at->decoded.stack == STACK_POP && at->decoded.flow == FLOW_NEXT)
        emit_forget(builder);
}

/* rcx := ~entry.field */
static void emit_complement(struct builder *builder, size_t field) {
    emit_entry_field(builder, LOAD, RCX, RAX, field);
    EMIT(OUT, 0x48, 0xf7, 0xd1);
}

/* ret → is the entry this slot's, rbp the same (where it was just popped), and the address?  Else C.  The entry is
 *     forgotten.  No flag changes: a equals b where ~a + b + 1 is 0, by not, lea and jrcxz. */
void emit_shadow_return(struct builder *builder, const struct block *block, const struct source_instruction *at) {
    const unsigned kind = kind_of(builder, block, at);
    uint32_t equal, differs[2] = {0};
    STORE_CONTEXT(OUT, RCX, spill[0]);
    if (kind & OWN_JUMP) {
        emit_forget(builder);
        return;
    }
    STORE_CONTEXT(OUT, RAX, spill[1]);
    emit_index(builder);
    emit_complement(builder, ENTRY(rsp));
    EMIT(OUT, 0x48, 0x8d, 0x4c, 0x0c, 0x09); /* lea rcx, [rsp + rcx + 9] */
    equal = emit_short_jump(builder, JRCXZ);
    differs[0] = emit_short_jump(builder, JMP);
    land(builder, equal);
    if (kind & RETURN_POPS_RBP) {
        emit_complement(builder, ENTRY(rbp));
        EMIT(OUT, 0x48, 0x8d, 0x4c, 0x29, 0x01); /* lea rcx, [rcx + rbp + 1] */
        equal = emit_short_jump(builder, JRCXZ);
        differs[1] = emit_short_jump(builder, JMP);
        land(builder, equal);
    }
    emit_complement(builder, ENTRY(return_address));
    EMIT(OUT, 0x48, 0x8b, 0x04, 0x24);       /* mov rax, [rsp] */
    EMIT(OUT, 0x48, 0x8d, 0x4c, 0x01, 0x01); /* lea rcx, [rcx + rax + 1] */
    equal = emit_short_jump(builder, JRCXZ);
    land(builder, differs[0]);
    if (kind & RETURN_POPS_RBP)
        land(builder, differs[1]);
    LOAD_CONTEXT(OUT, RAX, spill[1]);
    LOAD_CONTEXT(OUT, RCX, spill[0]);
    emit_context_immediate(OUT, offsetof(struct context, argument), kind);
    emit_service(builder, SERVICE_RETURN);
    STORE_CONTEXT(OUT, RCX, spill[0]);
    STORE_CONTEXT(OUT, RAX, spill[1]);
    land(builder, equal);
    emit_index(builder);
    emit_entry_field(builder, STORE, RAX, RAX, ENTRY(rsp)); /* no rsp is that small */
    LOAD_CONTEXT(OUT, RAX, spill[1]);
}

/* ---- stores ---- */

/* [rsp + d], and [rbp - d], are in the running function's frame; what has a segment, or no register, is on no stack. */
bool shadow_reaches(const struct builder *builder, const struct instruction *decoded) {
    const bool frame = decoded->base == RSP || (decoded->base == RBP && decoded->displacement < 0);
    return builder->shadowed && !decoded->segment &&
           (decoded->index != REG_NONE || (decoded->base != REG_NONE && !frame));
}

/* A hit goes from one such piece to the next: none of these jumps is too short. */
static uint32_t emit_near(struct builder *builder, uint32_t hit, unsigned from, unsigned bytes) {
    EMIT(OUT, 0x8d, 0x42); /* lea eax, [rdx + from + 16] */
    emit8(OUT, (uint8_t)(from + 16));
    EMIT(OUT, 0x25, 0xf0, 0xff, 0, 0); /* and eax, 0xfff0 */
    emit_entry_field(builder, LOAD, RAX, RAX, ENTRY(rsp));
    EMIT(OUT, 0x48, 0x29, 0xd0, 0x48, 0xff, 0xc8, 0x48, 0x83, 0xf8); /* sub rax, rdx; dec rax; cmp rax, bytes + 15 */
    emit8(OUT, (uint8_t)(bytes + 15));
    if (hit)
        emit_shadow_hit(builder, hit);
    return emit_short_jump(builder, JB);
}

/* store of n bytes at a → n - 1 + a less than 8 MiB above rsp? then, for each 16 bytes that it may touch, in whose
 * upper half compiled code has its return addresses: E is where they end; is entry(E).rsp - a - 1 < n + 15? */
uint32_t emit_shadow_store(struct builder *builder, const struct source_instruction *at) {
    enum { HALF = 8, PAIR = 16 };
    const unsigned bytes = at->decoded.operand_bytes;
    uint32_t hit = 0;
    EMIT(OUT, 0x48, 0x8d, 0x42); /* lea rax, [rdx + bytes - 1] */
    emit8(OUT, (uint8_t)(bytes - 1));
    EMIT(OUT, 0x48, 0x29, 0xe0, 0x48, 0xc1, 0xe8, 23); /* sub rax, rsp; shr rax, 23 */
    EMIT(OUT, 0x0f, 0x85, 0, 0, 0, 0);                 /* jne elsewhere */
    const uint32_t elsewhere = emitted(OUT);
    for (unsigned from = 0; from < bytes; from += PAIR)
        hit = emit_near(builder, hit, from, bytes);
    if (bytes > HALF)
        hit = emit_near(builder, hit, bytes - 1, bytes);
    if (OUT->at <= OUT->end)
        OUT->start[elsewhere - 4] = (uint8_t)(emitted(OUT) - elsewhere);
    return hit;
}

void emit_shadow_hit(struct builder *builder, uint32_t jump) {
    land(builder, jump);
}
