#include "arch/x86_64/emit.h"

void emit_bytes(struct emitter *out, const uint8_t *bytes, unsigned count) {
    if (out->at + count > out->end) {
        out->at = out->end + 1; /* seen by the builder: everything after is thrown away */
        return;
    }
    for (unsigned i = 0; i < count; i++)
        *out->at++ = bytes[i];
}

void emit8(struct emitter *out, uint8_t value) {
    emit_bytes(out, &value, 1);
}
void emit32(struct emitter *out, uint32_t value) {
    emit_bytes(out, (const uint8_t *)&value, 4);
}
void emit64(struct emitter *out, uint64_t value) {
    emit_bytes(out, (const uint8_t *)&value, 8);
}

void emit_context(struct emitter *out, uint8_t opcode, unsigned reg, size_t offset) {
    emit8(out, 0x65);
    emit8(out, 0x48 | (reg >> 3 & 1) << 2);
    emit8(out, opcode);
    emit8(out, 0x04 | (reg & 7) << 3);
    emit8(out, 0x25);
    emit32(out, (uint32_t)offset);
}

void emit_context_immediate(struct emitter *out, size_t offset, uint32_t value) {
    EMIT(out, 0x65, 0xc7, 0x04, 0x25);
    emit32(out, (uint32_t)offset);
    emit32(out, value);
}

void emit_context_jump(struct emitter *out, size_t offset) {
    EMIT(out, 0x65, 0xff, 0x24, 0x25);
    emit32(out, (uint32_t)offset);
}

void emit_operand(struct emitter *out, uint8_t opcode, unsigned reg, const struct instruction *instruction,
                  uintptr_t address, bool keep_segment) {
    const uint8_t wide = 0x48 | (reg >> 3 & 1) << 2;
    if (instruction->rip_relative) {
        uint64_t target = address + instruction->length + (int64_t)instruction->displacement;
        if (instruction->address_size_override)
            target = (uint32_t)target;
        int64_t distance = (int64_t)(target - ((uintptr_t)out->at + 7));
        if (fits32(distance) && !(keep_segment && instruction->segment)) {
            emit8(out, wide);
            emit8(out, opcode);
            emit8(out, 0x05 | (reg & 7) << 3);
            emit32(out, (uint32_t)distance);
            return;
        }
        emit8(out, 0x48 | (reg >> 3 & 1)); /* mov reg, imm64 */
        emit8(out, 0xb8 | (reg & 7));
        emit64(out, target);
        if (opcode == 0x8d)
            return;
        if (keep_segment && instruction->segment)
            emit8(out, instruction->segment);
        emit8(out, wide | (reg >> 3 & 1)); /* op reg, [reg] */
        emit8(out, opcode);
        emit8(out, (uint8_t)((reg & 7) << 3 | (reg & 7)));
        return;
    }
    if (keep_segment && instruction->segment)
        emit8(out, instruction->segment);
    if (instruction->address_size_override)
        emit8(out, 0x67);
    unsigned base = instruction->base, index = instruction->index;
    bool has_base = base != REG_NONE, has_index = index != REG_NONE;
    emit8(out, wide | (has_index ? (index >> 3 & 1) << 1 : 0) | (has_base ? (base >> 3 & 1) : 0));
    emit8(out, opcode);
    unsigned scale = instruction->scale == 8 ? 3 : instruction->scale == 4 ? 2 : instruction->scale == 2 ? 1 : 0;
    uint8_t mode = has_base ? 0x80 : 0x00; /* [base + disp32] or [disp32] */
    emit8(out, mode | (reg & 7) << 3 | 4);
    emit8(out, (uint8_t)(scale << 6 | (has_index ? (index & 7) << 3 : 0x20) | (has_base ? base & 7 : 5)));
    emit32(out, (uint32_t)instruction->displacement);
}
