/* What operators see: counters and a ring in struct state, and one JSON line per recovery in a file. */
#ifndef STEMRW_EVENTS_H
#define STEMRW_EVENTS_H

#include "region/context.h"

void record_recovery(struct context *context, const struct mark *mark, uint64_t log_bytes);

#endif
