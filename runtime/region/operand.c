#include "region/operand.h"

#include "arch/x86_64/emit.h"

enum { FS = 0x64 };

unsigned modrm_register(const struct instruction *at, const uint8_t *bytes) {
    return (bytes[at->modrm_offset] >> 3 & 7) | (at->rex & 4) << 1;
}

/* bt m, reg and its kin: the register counts bits from the operand on. */
static uint64_t bit_displacement(const struct context *context, const struct instruction *at, const uint8_t *bytes) {
    const uint64_t value = context->registers.general[modrm_register(at, bytes)];
    const int64_t bit = at->operand_bytes == 8   ? (int64_t)value
                        : at->operand_bytes == 4 ? (int32_t)value
                                                 : (int16_t)value;
    return (uint64_t)((bit >> 3) & ~(int64_t)(at->operand_bytes - 1));
}

uint64_t operand_address(const struct context *context, const struct instruction *at, const uint8_t *bytes,
                         uintptr_t source) {
    const uint64_t *general = context->registers.general;
    uint64_t address = at->rip_relative ? source + at->length : 0;
    if (at->displacement_size == 8)
        for (unsigned i = 0; i < 8; i++) /* moffs */
            address |= (uint64_t)bytes[at->displacement_offset + i] << 8 * i;
    else
        address += (uint64_t)(int64_t)at->displacement;
    if (at->base != REG_NONE)
        address += general[at->base];
    if (at->base == RSP && at->stack == STACK_POP)
        address += at->stack_bytes;
    if (at->index != REG_NONE)
        address += general[at->index] * at->scale;
    if (at->bit_offset)
        address += bit_displacement(context, at, bytes);
    if (at->address_size_override)
        address = (uint32_t)address;
    return at->segment == FS ? address + context->owner : address;
}
