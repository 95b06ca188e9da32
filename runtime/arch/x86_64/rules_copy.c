/* The program's instruction itself, in the cache. */
#include "arch/x86_64/rules.h"

#include "arch/x86_64/shadow.h"

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

void emit_copy(struct builder *builder, const struct source_instruction *at) {
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
void rule_read_base(struct builder *builder, const struct source_instruction *at) {
    const uint8_t modrm = at->bytes[at->decoded.modrm_offset];
    if (modrm < 0xc8) {
        emit_copy(builder, at);
        return;
    }
    emit8(OUT, 0x40 | (at->decoded.rex & 1));
    emit8(OUT, 0xb8 | (modrm & 7));
    emit32(OUT, 0);
}

void rule_ordinary(struct builder *builder, uint32_t index, const struct source_instruction *at) {
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
