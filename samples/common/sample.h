/* What every sample shares.
 *
 * A sample is a program that works through records, one after the other, and keeps a state (globals and heap).  Its
 * process() does what real programs do: it changes the state first and notices, or fails to notice, later that the
 * record is bad.  A record that begins with '!' makes it fault half-way; any other one is good; an empty one is refused
 * properly.  After every record the driver prints a checksum over the state, so that whoever survives a bad record must
 * show the checksum of one who never saw it.
 *
 * Files: NAME.c (or .cpp) has prepare() and process(); common/state.c the state; drivers/ the main programs.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { REFUSED = -1 };

struct item {
    struct item *next;
    char text[24];
};

struct state {
    uint64_t accepted;
    uint64_t neighbour_before; /* written by another thread all the time, if there is one; not in the checksum */
    uint64_t letters[32];
    uint64_t neighbour_after;
    uint8_t neighbour_left; /* these two share an 8-byte word with what process() writes */
    uint8_t last;
    uint8_t neighbour_right;
    char log[1024];
    size_t log_length;
    uint8_t *heap;       /* 512 bytes */
    struct item *items;  /* newest first */
    struct item *pool;   /* where items come from; NULL: the allocator */
    const void *extra;   /* what else belongs to the checksum */
    size_t extra_length; /* bytes */
};

extern struct state state;

/* To be called once before the first record; each sample defines it. */
void prepare(void);

/* Take one record: a value >= 0, or REFUSED.  Each sample defines it. */
int process(const char *record);

/* Change every part of the state for the record, as work that a fault leaves half-done. */
void note(const char *record);

/* FNV-1a over the content (never the addresses) of the state. */
uint64_t state_checksum(void);

#ifdef __cplusplus
}
#endif

static inline int is_bad(const char *record) {
    return record[0] == '!';
}

/* The same pointer; the compiler does not know that. */
static inline void *opaque(const volatile void *pointer) {
    void *result = (void *)(uintptr_t)pointer;
    __asm__ volatile("" : "+r"(result));
    return result;
}

/* The same number; the compiler does not know that. */
static inline long opaque_number(long number) {
    __asm__ volatile("" : "+r"(number));
    return number;
}

/* A small number that depends on the record alone. */
static inline int value_of(const char *record) {
    int sum = 0;
    while (*record)
        sum = (sum * 31 + (unsigned char)*record++) & 0xffff;
    return sum;
}

#endif
