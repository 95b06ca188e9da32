/* Which function an address belongs to, without symbols: by the sorted table that unwinders search (.eh_frame_hdr),
 * which is in memory in every module that has unwind information. */
#ifndef STEMRW_FUNCTIONS_H
#define STEMRW_FUNCTIONS_H

#include <stdint.h>

struct function {
    uintptr_t start, end; /* where nothing is known, from the address asked for to the end of its mapping */
    uint64_t link;        /* link-time address of .start in its file */
    uint32_t module;      /* .name of its range: see struct range */
};

/* The function that holds `address`, as far as it can be known. */
struct function function_at(uintptr_t address);

#endif
