/* Emitters: x86-64 bytes into a buffer that lies where the code will run. */
#ifndef STEMRW_EMIT_H
#define STEMRW_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode/decode.h"
#include "region/context.h"

struct emitter {
    uint8_t *start, *at, *end;
};

enum general_register { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

static inline uint32_t emitted(const struct emitter *out) {
    return (uint32_t)(out->at - out->start);
}

void emit_bytes(struct emitter *out, const uint8_t *bytes, unsigned count);
void emit8(struct emitter *out, uint8_t value);
void emit32(struct emitter *out, uint32_t value);
void emit64(struct emitter *out, uint64_t value);
#define EMIT(out, ...)                                                                                                 \
    do {                                                                                                               \
        static const uint8_t bytes_[] = {__VA_ARGS__};                                                                 \
        emit_bytes(out, bytes_, sizeof bytes_);                                                                        \
    } while (0)

static inline bool fits32(int64_t value) {
    return value == (int32_t)value;
}

/* op r64, gs:[offset]; opcode 8b loads, 89 stores, 0b or, 03 add, 3b cmp r,m */
void emit_context(struct emitter *out, uint8_t opcode, unsigned reg, size_t offset);
#define LOAD_CONTEXT(out, reg, field) emit_context(out, 0x8b, reg, offsetof(struct context, field))
#define STORE_CONTEXT(out, reg, field) emit_context(out, 0x89, reg, offsetof(struct context, field))

/* mov dword gs:[offset], imm32 (the upper half of a field is kept zero by whoever reads it as 32 bits) */
void emit_context_immediate(struct emitter *out, size_t offset, uint32_t value);

/* jmp gs:[offset] */
void emit_context_jump(struct emitter *out, size_t offset);

/* op reg, <the memory operand of an instruction>: mov (8b) or lea (8d).  `reg` is rcx or rdx (encodings of rsp, rbp and
 * their likes as a base are not handled); `address` is the instruction's own; its segment prefix is kept if wanted. */
void emit_operand(struct emitter *out, uint8_t opcode, unsigned reg, const struct instruction *instruction,
                  uintptr_t address, bool keep_segment);

#endif
