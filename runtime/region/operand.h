/* What an instruction's operands are, as the registers say in context->registers. */
#ifndef STEMRW_OPERAND_H
#define STEMRW_OPERAND_H

#include "decode/decode.h"
#include "region/context.h"

/* The register in the reg field of ModRM. */
unsigned modrm_register(const struct instruction *at, const uint8_t *bytes);

/* Where the operand of an instruction with MEMORY_OPERAND lies; `source` is its own address. */
uint64_t operand_address(const struct context *context, const struct instruction *at, const uint8_t *bytes,
                         uintptr_t source);

#endif
