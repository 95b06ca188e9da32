/* Which places of this module are patched. */
#ifndef STEMRW_PATCHES_H
#define STEMRW_PATCHES_H

#include "region/runtime.h"

/* The first patch whose link-time address is not below `link`; it may be none, see patch_next. */
const struct patch *patch_from(uint64_t link);

/* `patch`, where it is one, and begins below `end`; else NULL. */
const struct patch *patch_next(const struct patch *patch, uint64_t end);

/* The patch that begins at `address`; NULL: none. */
const struct patch *patch_at(uintptr_t address);

/* Where the program's own code for `address` is: the displaced copy of what was overwritten, or there itself. */
uintptr_t native_address(uintptr_t address);

/* Of `count` bytes of code that were read at `address`: those that were overwritten become what they were. */
void patches_restore(uintptr_t address, uint8_t *bytes, unsigned count);

#endif
