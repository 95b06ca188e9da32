/* Stores that write only those elements of their operand which a mask names. */
#ifndef STEMRW_MASKED_H
#define STEMRW_MASKED_H

#include "decode/decode.h"
#include "region/context.h"

/* Whether an instruction is one that stores to its memory operand by a mask. */
bool store_is_masked(const struct instruction *at, const uint8_t *bytes);

/* Log what the instruction is about to write at `address`.  False: the log is full. */
bool log_masked(struct context *context, const struct instruction *at, const uint8_t *bytes, uintptr_t address);

#endif
