/* Address space for the program. */
#ifndef STEMRW_ROOM_H
#define STEMRW_ROOM_H

#include "region/context.h"

/* It is about to have that many bytes of addresses at most, all mappings together. */
void make_room(struct context *context, uint64_t limit);

#endif
