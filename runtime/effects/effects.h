/* System calls of a region: what they write is logged before, what they do is undone if it can be. */
#ifndef STEMRW_EFFECTS_H
#define STEMRW_EFFECTS_H

#include "region/context.h"

/* Number and arguments in .registers, .target behind the instruction.  Decides where it goes on: the instruction, past
 * it (done in its place), or natively.  True: a fault was raised (a fatal signal that the thread sent itself). */
bool before_syscall(struct context *context);

/* The result is in .registers; resumes at .target's translation. */
void after_syscall(struct context *context);

/* What the kernel writes for a system call: up to four areas. */
enum size_kind {
    SIZE_FIXED,    /* .size bytes */
    SIZE_ARGUMENT, /* argument[.with] bytes, times .size; and .more */
    SIZE_POINTED,  /* *(uint32_t *)argument[.with] bytes; and .more */
    SIZE_VECTOR,   /* argument is struct iovec[argument[.with]]: the buffers */
    SIZE_MESSAGE,  /* argument is struct msghdr: itself, name, control, buffers */
    SIZE_MESSAGES, /* … struct mmsghdr[argument[.with]] */
    SIZE_BITS,     /* argument[.with] bits, rounded up to 8 bytes */
    SIZE_PAGES,    /* a byte for each page of argument[.with] bytes */
    SIZE_COMMAND,  /* as the command in argument[.with] has it (commands.c) */
};

struct output {
    uint32_t argument : 4; /* 0 … 5 */
    uint32_t kind : 4;     /* enum size_kind */
    uint32_t with : 4;
    uint32_t size : 12;
    uint32_t more : 8;
};

enum effect {
    EFFECT_PURE,         /* nothing outlives it but what it wrote to memory */
    EFFECT_IRREVERSIBLE, /* seen by others: let through and counted */
    EFFECT_DESCRIPTOR,   /* result is a new descriptor: closed on rollback */
    EFFECT_POSITION,     /* moves the file offset of descriptor argument 0: put back on rollback */
    EFFECT_OWN,          /* handled in syscalls.c */
};

struct syscall_rule {
    uint16_t number;
    uint8_t effect; /* enum effect */
    uint8_t outputs;
    struct output output[];
};
_Static_assert(sizeof(struct output) == 4 && sizeof(struct syscall_rule) == 4, "table.c has them as words");

const struct syscall_rule *syscall_rule(uint64_t number); /* NULL: unknown */

/* Bytes that a call of many commands (ioctl, fcntl, futex …) writes where `argument` points.  False: not known. */
bool command_bytes(uint64_t number, unsigned argument, uint64_t command, uint32_t *bytes);

#endif
