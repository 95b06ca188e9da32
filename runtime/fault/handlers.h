/* Signals that the program handles itself: its handlers are called through a gate (entry.S: signal_gate), so that one
 * that interrupts a region finds the original program: its PC, registers as that has them, nothing left to undo. */
#ifndef STEMRW_HANDLERS_H
#define STEMRW_HANDLERS_H

#include "os/linux.h"
#include "region/context.h"

enum { LAST_SIGNAL = 64 };

/* The program's rt_sigaction; result as the kernel's. */
long handlers_change(int signal, const struct os_sigaction *wish, struct os_sigaction *old);

/* Put the gate before handlers that were installed without our seeing it. */
void handlers_adopt(void);

/* The module is about to be unloaded: the program's handlers without the gate. */
void handlers_restore(void);

/* The signal that waited for the end of a handler (SIGTRAP): back to the cache, if the thread is where it was. */
bool handlers_return(struct context *context, const struct os_siginfo *info, struct os_context *at);

/* A step of a thread that holds a signal back has been made (SIGTRAP). */
bool handlers_stepped(struct context *context, struct os_context *at);

/* For entry.S: the program's handler for a signal that has come, after `at`, the frame that the kernel restores (NULL:
 * another handler has called ours), is the original program's; 0: held back, it comes again. */
uint64_t signal_arrived(int signal, struct os_siginfo *info, struct os_context *at);

#endif
