/* Where files are read and written: a region that is undone has not moved there.
 *
 * What has been written cannot be called back where somebody else may have seen it, or has written behind it: pipes,
 * terminals, sockets; the standard streams, whatever they lead to; files that are opened for appending, or whose
 * position others have moved since, or have from their parent process.  That stays, and is an irreversible effect. Else
 * the position goes back, so that what a stream's buffer holds again is not written twice, and what had made the file
 * longer is cut off again.  A rescue of main ends the program: then all stays that it has written, as after its death.
 */
#ifndef STEMRW_POSITIONS_H
#define STEMRW_POSITIONS_H

#include "region/log.h"

/* Before a system call that moves the position of a descriptor, its first argument: to log that.  But for those that
 * read, position_moved follows, with what the call has returned.  False: there is no position. */
bool position_save(struct context *context, uint64_t number, bool reads);
void position_moved(struct context *context, uint64_t number, uint64_t result);

/* For log_rollback, of a LOG_OFFSET. */
void position_undo(struct context *context, const struct record *record);

#endif
