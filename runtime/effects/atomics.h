/* Locked instructions while other threads are alive: done here, so that it is known what each has changed. */
#ifndef STEMRW_ATOMICS_H
#define STEMRW_ATOMICS_H

#include "decode/decode.h"
#include "region/context.h"

/* The locked instruction, or xchg, at `source`, about to run on `address`, from C on the private stack.  Done in its
 * place, it is logged by what it did (effects/words.h), and .resume becomes .behind; where there is no such memory it
 * is left to fault where it stands; what cannot be undone ends the region. */
void locked_instruction(struct context *context, uintptr_t source, uintptr_t address);

/* The store at .resume, of `size` bytes, perhaps to such a word.  False: it cannot be undone, or the log is full. */
bool store_logged(struct context *context, uintptr_t address, size_t size);

#endif
