/* What must be aligned in memory, and what may not be accessed at all. */
#ifndef STEMRW_ALIGNMENT_H
#define STEMRW_ALIGNMENT_H

#include "decode/decode.h"

/* To how many bytes the instruction wants its memory operand aligned, on pain of a fault; 1: not at all. */
unsigned alignment_wanted(const struct instruction *at, const uint8_t *bytes);

/* Whether a mask may spare the operand: then no address faults. */
bool may_be_masked(const struct instruction *at, const uint8_t *bytes);

#endif
