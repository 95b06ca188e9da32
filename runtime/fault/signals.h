/* Hardware traps: our handlers, the program's wishes, and who gets what. */
#ifndef STEMRW_SIGNALS_H
#define STEMRW_SIGNALS_H

#include <stdbool.h>

#include "os/linux.h"

#define HANDLED_SIGNALS                                                                                                \
    (1u << OS_SIGSEGV | 1u << OS_SIGBUS | 1u << OS_SIGFPE | 1u << OS_SIGILL | 1u << OS_SIGTRAP | 1u << OS_SIGSYS)

static inline bool is_handled(uint64_t signal) {
    return signal < 32 && HANDLED_SIGNALS >> signal & 1;
}

/* As a signal mask (signal n is bit n - 1): all but those that our own code may cause. */
static inline uint64_t all_but_handled(void) {
    return ~((uint64_t)HANDLED_SIGNALS >> 1);
}

void signals_install(void);

/* Where our handler is installed, the program's own action is put back. */
void signals_restore(void);

/* Take back the signals that were lent to the program's own action for one delivery. */
void signals_reclaim(void);

/* At a thread's first entry: handlers that were installed without our seeing it become the program's wish (counted). */
void signals_check(void);

/* The program's rt_sigaction for a signal that we handle: note its wish, tell it what it wished before. */
void signals_wish(int signal, const struct os_sigaction *wish, struct os_sigaction *old);

#endif
