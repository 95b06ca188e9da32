/* What C may see of the program's vector registers, which it does not touch itself. */
#ifndef STEMRW_VECTORS_H
#define STEMRW_VECTORS_H

#include <stdint.h>

#pragma GCC visibility push(hidden)
/* Only for a processor with AVX-512: one that has executed a scatter, or is about to. */
void vector_read(uint8_t to[64], unsigned number); /* zmm0 … zmm31 */
uint32_t mask_read(unsigned number);               /* low 16 bits of k0 … k7 */
#pragma GCC visibility pop

#endif
