/* All registers at a checkpoint, vectors and flags too, for strategies that go back there rather than to the caller. */
#ifndef STEMRW_SNAPSHOT_H
#define STEMRW_SNAPSHOT_H

#include "region/context.h"

enum { SNAPSHOTS = 32, SNAPSHOT_BYTES = 0xd00 };

/* Of the innermost mark, as .registers and .resume have them.  Where there is no memory, or more than SNAPSHOTS marks
 * lie between it and another one that wants its own, snapshot_restore fails. */
void snapshot_take(struct context *context, const struct mark *mark);

/* Into .registers, .resume and the processor's vector registers.  False: there is none. */
bool snapshot_restore(struct context *context, const struct mark *mark);

/* What programs count by, of that mark's: the general registers, the FPU's, and the lower halves of the vectors. */
enum { SNAPSHOT_GENERAL = 16, SNAPSHOT_WORDS = SNAPSHOT_GENERAL + 3 * 16 };
bool snapshot_words(const struct context *context, const struct mark *mark, uint64_t *words);

#endif
