/* Has a SIGSEGV handler of its own, on its own stack, which says a last word and lets the signal kill: as long as the
 * region is survived it is not called. */
#define _GNU_SOURCE
#include "sample.h"

#include <signal.h>
#include <unistd.h>

static void last_word(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    if (write(2, "last word\n", 10) < 0)
        _exit(2);
}

void prepare(void) {
    static uint8_t stack[65536];
    stack_t alternate;
    memset(&alternate, 0, sizeof alternate);
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, NULL);
    struct sigaction action, now;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = last_word;
    action.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND);
    if (sigaction(SIGSEGV, &action, NULL) || sigaction(SIGSEGV, NULL, &now) || now.sa_sigaction != last_word)
        abort();
}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    note(record);
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    return value_of(record) + (*word & 1);
}
