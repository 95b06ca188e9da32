/* Rules: what a plan asks of the runtime beyond checkpoint, undo and error value.
 *
 * The payload holds them behind the table of patches: struct rule[rule_count], sorted by patch, then kind, then
 * address. A rule belongs to one region (its index in the table of patches), or to the whole module.  What the values
 * of a kind mean is said here, and built by the document of the same name in stemrw/documents/rules.py.
 */
#ifndef STEMRW_RULES_H
#define STEMRW_RULES_H

#include <stdint.h>

enum { RULE_MODULE = 0xffffffff }; /* .patch of a rule that belongs to no region */

enum rule_kind {
    RULE_NONE = 0,
    RULE_BUDGET = 1, /* of one entry of a region: ticks, CPU milliseconds, bytes of memory; 0: any amount.  Then 1: they
                        count from the first rescue inside the entry on, 0: from its beginning */
    RULE_STACK = 5, /* of the module: returns and indirect branches are checked (fault/stack.h); offset from the payload
                       header and count of uint32_t[], ascending: where, from text_start, functions begin whose address
                       the file never takes */
    RULE_GUARD_SITE = 10,   /* calls of the allocator that return into [address, end) are given guarded blocks: enum
                               guard_side, then up to three return addresses of frames further out; 0: any */
    RULE_GUARD_ACCESS = 11, /* instructions in [address, end) are checked against guarded blocks before they run */
    RULE_SET_ERRNO = 15,    /* a rescue sets errno: to value[0]; .address: of __errno_location, 0: ask the loader */
    RULE_SET_OUT = 16,      /* a rescue writes: argument 0…5 (a pointer), offset, size 1, 2, 4, 8, value */
    /* Before the instruction at .address: value[0] bytes of a program (enum operation) follow in value[1…4] of this
     * rule and of those behind it, 32 bytes in each; what it computes must not be 0. */
    RULE_PREDICATE = 19,
    /* Rescues that change nothing, that look alike, CPU milliseconds of such (region/escalate.c); 0: any. */
    RULE_ESCALATE = 17,

    /* Strategies (docs/strategies.md).  The first: enum strategy; what it may use, see there; .address: of pthread_exit
     * where that is in the file. */
    RULE_STRATEGY = 25,
    RULE_SLICE = 26, /* [address, end) is entered at .address only; where the program goes on after a fault in it */
    RULE_SLICE_EXIT = 27, /* control that gets to .address has left the slice */
    RULE_SLICE_SET = 28,  /* general register value[0] is value[1] then, after a fault in the slice at .address */
};

/* What is done about a fault, where that is not the error value. */
enum strategy {
    STRATEGY_RETURN = 0,
    STRATEGY_DIE = 1,        /* the original death */
    STRATEGY_OBLIVIOUS = 2,  /* the access is left out; value[1]: at most so many per entry of the region */
    STRATEGY_RETRY = 3,      /* the region runs once more, with roomier allocations */
    STRATEGY_END_THREAD = 4, /* as pthread_exit(NULL) in the region's place */
    STRATEGY_END_CHILD = 5,  /* as _exit(value[1]) in the region's place, in a child that was forked */
    STRATEGY_SLICE = 6,      /* of a slice, by RULE_SLICE: go on behind it */
};

enum guard_side {
    GUARD_ABOVE = 0, /* the block ends before the guard */
    GUARD_BELOW = 1, /* it begins behind it */
};

enum { RULE_PROGRAM_BYTES = 32, PREDICATE_BYTES = 256, PREDICATE_DEPTH = 16 };

/* Of a predicate: on a stack of 64-bit values, each known or not.  Binary ones have their right operand at the top. */
enum operation {
    OP_REGISTER = 1, /* byte: 0…15 general, 16 the fs base */
    OP_CONSTANT,     /* eight bytes */
    OP_SMALL,        /* byte, sign extended */
    OP_LOAD,         /* byte: size 1, 2, 4, 8, zero extended; of the address on the top */
    OP_ZERO_EXTEND,  /* byte: size */
    OP_SIGN_EXTEND,  /* byte: size */
    OP_SHIFT_RIGHT,  /* byte: bits */
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_MASK, /* and, bit by bit */
    OP_EQUAL,
    OP_BELOW,       /* unsigned < */
    OP_BELOW_EQUAL, /* unsigned <= */
    OP_LESS,        /* signed < */
    OP_LESS_EQUAL,  /* signed <= */
    OP_BOTH,        /* of truth values, these three */
    OP_EITHER,
    OP_NOT,
};

struct rule {
    uint32_t kind;    /* enum rule_kind */
    uint32_t patch;   /* index in the table of patches, or RULE_MODULE */
    uint64_t address; /* link-time address that it is about; 0: none */
    uint64_t end;     /* link-time address behind what it is about; 0: none */
    uint64_t value[5];
};

#endif
