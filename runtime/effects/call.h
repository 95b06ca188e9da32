/* A system call that a region is about to make: what syscalls.c shares with those who know one kind of them. */
#ifndef STEMRW_CALL_H
#define STEMRW_CALL_H

#include "arch/x86_64/emit.h"
#include "effects/effects.h"

enum { SYSCALL_BYTES = 2 };

static inline uint64_t argument(const struct context *context, unsigned index) {
    static const uint8_t registers[6] = {RDI, RSI, RDX, R10, R8, R9};
    return context->registers.general[registers[index]];
}

static inline uintptr_t instruction_address(const struct context *context) {
    return context->target - SYSCALL_BYTES;
}

/* Natively from here on. */
void give_way(struct context *context, enum reason reason);

/* Done in the program's place: go on behind the instruction as after one. */
void skip(struct context *context, long result);

/* The kernel does it, and C looks at the result. */
void watch(struct context *context);

/* written.c: before the kernel writes there.  False: the log is full, or it is not known how much. */
bool log_output(struct context *context, const struct output *output);

/* mappings.c.  True: a fault was raised. */
bool before_memory(struct context *context, uint64_t number);
void after_memory(struct context *context, uint64_t number, uint64_t result);

/* signals.c.  True: a fault was raised, for the program is about to die. */
bool before_kill(struct context *context, uint64_t number);
bool before_message(struct context *context);
void before_sigaction(struct context *context);
void before_sigmask(struct context *context);
void before_sigaltstack(struct context *context);

#endif
