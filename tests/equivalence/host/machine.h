/* The host of instruction-level equivalence: what C, assembly and the generator (cases.py) agree on.
 *
 *     CASES    code of the cases, a shared object mapped from its file: instructions, then `jmp [EXITS]`
 *     EXITS    where a case goes on: [0] falls through, [1] its branch was taken
 *     LOW      data arena below 2 GiB: for 32-bit addresses, absolute addresses, RIP-relative operands
 *     FAR      data arena that RIP-relative operands reach from CASES, but not from the code cache
 *     STACK    stack arena; the host's calls use the upper part of the same mapping: nothing unmapped lies between, as
 *              in a real stack, where the runtime logs what lies between when rsp is loaded
 *     (fs)     data arena within 4 GiB above the fs base: found at run time
 * Each arena is ARENA_BYTES between two pages that are not mapped; STACK has one below it only.
 */
#ifndef MACHINE_H
#define MACHINE_H

#define CASES 0x20000000
#define EXITS 0x2ff00000
#define LOW 0x30000000
#define STACK 0x50000000
#define FAR 0x9ff00000
#define ARENA_BYTES 0x3000
#define STACK_GAP 0x2000 /* above the stack arena: wild stores do not reach the host's frame */
#define STACK_TOP (STACK + ARENA_BYTES + STACK_GAP) /* rsp when a run begins */
#define RESCUED 0x5ca1ab1e          /* what the regions return when they are rescued */

/* Offsets in struct machine. */
#define MACHINE_FLAGS 128
#define MACHINE_EXIT 136
#define MACHINE_MXCSR 144
#define MACHINE_X87 148
#define MACHINE_XSAVE 192
#define XSAVE_BYTES 12288 /* more than any processor's standard format needs without AMX */

#define EXIT_NEXT 0
#define EXIT_TAKEN 1
#define EXIT_FAULT 2

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct machine {
    uint64_t general[16]; /* in encoding order */
    uint64_t flags;
    uint64_t exit;
    uint32_t mxcsr; /* before and after a run only: the rest is in xsave */
    uint16_t x87_control;
    uint16_t padding[21];
    uint8_t xsave[XSAVE_BYTES] __attribute__((aligned(64)));
};
_Static_assert(offsetof(struct machine, xsave) == MACHINE_XSAVE, "assembly counts");
_Static_assert(offsetof(struct machine, x87_control) == MACHINE_X87, "assembly counts");

/* enter.S.  `before` and `after`: the registers around a run, as its caller sees them; `in` and `out`: before and
 * behind the case. */
extern struct machine before, in, out, after;
extern uint64_t case_slot; /* the case to run */
extern uint64_t xsave_mask;
void run(void (*way)(void));
void run_native(void);   /* not patched */
void run_region(void);   /* a region */
void run_observed(void); /* emulated, but its faults are the program's */
extern const char finish, finish_taken, finish_fault, undo;

/* A memory operand of a case. */
struct operand {
    uint8_t kind;  /* enum operand_kind */
    uint8_t base;  /* general register; NO_REGISTER: none */
    uint8_t index; /* general register, or vector register of OPERAND_VECTOR */
    uint8_t scale;
    uint8_t bits;    /* enum operand_bits */
    uint8_t arena;   /* enum arena */
    uint8_t element; /* OPERAND_VECTOR: bytes of one index */
    uint8_t align;   /* bytes it has to be aligned to, where that is demanded */
    int64_t displacement; /* OPERAND_FIXED: the address */
    uint32_t size;        /* bytes */
    uint32_t padding;
};
enum operand_kind { OPERAND_NONE, OPERAND_REGISTERS, OPERAND_FIXED, OPERAND_VECTOR };
enum operand_bits { OPERAND_NARROW = 1, OPERAND_FS = 2, OPERAND_INDEX_AL = 4 };
enum arena { ARENA_HIGH, ARENA_LOW, ARENA_FAR, ARENA_STACK, ARENAS };
enum { NO_REGISTER = 0xff };

struct test_case {
    uint32_t code;  /* offset from CASES */
    uint32_t taken; /* offset of the place that a branch leads to; 0: none */
    uint16_t form;
    uint16_t ignored;        /* general registers whose values are not compared: clocks, random numbers */
    uint8_t length;          /* bytes of the instruction */
    uint8_t setup;           /* enum setup */
    uint8_t target_register; /* SETUP_TARGET_REGISTER */
    uint8_t bit_register;    /* bit offset of bt*: kept small; NO_REGISTER: none */
    uint8_t count_register;  /* counts repetitions: kept small mostly; NO_REGISTER: none */
    uint8_t operand_bytes;   /* of bt*: a bit offset counts from a multiple of this */
    uint8_t may_be_unsteady; /* flags are not compared either */
    uint8_t padding;
    uint16_t dead_flags;      /* that the instruction overwrites unread: not exact when it faults */
    uint16_t undefined_flags; /* that it leaves undefined: the processor may leave them as they were, and they are dead */
    struct operand operands[2];
};
_Static_assert(sizeof(struct test_case) == 72, "cases.py packs it");

/* What memory or a register has to hold for the case to make sense. */
enum setup {
    SETUP_NONE,
    SETUP_TARGET_MEMORY,   /* the operand holds the address of .taken */
    SETUP_TARGET_REGISTER, /* .target_register does */
    SETUP_TARGET_STACK,    /* the top of the stack does */
    SETUP_FLAGS_STACK,     /* the top of the stack holds flags without TF and AC */
    SETUP_XSAVE_IMAGE,     /* the operand is what xrstor takes */
    SETUP_FXSAVE_IMAGE,
    SETUP_MXCSR, /* the operand has no reserved bit set, mostly */
    SETUP_FRAME,      /* rbp lies in the stack arena */
    SETUP_SAVES,      /* it tells which parts of the extended state are as initially: x87 and SSE are not, for after any
                         signal the kernel says that they are not */
};

/* A fault as the program's handler saw it. */
struct fault {
    int signal, code;
    uint64_t address, pc;
};

uint64_t next_random(void);
void seed_random(uint64_t seed);

/* random_state.c: `in` and the arenas for a trial of a case. */
void states_prepare(void); /* once */
void make_state(const struct test_case *test);
extern uint8_t *arena_at[ARENAS];

/* xsave.c */
void xsave_prepare(void);
void xsave_normalize(uint8_t *area); /* what is not there is what it is initially */
uint8_t *vector_bytes(uint8_t *area, unsigned number, unsigned offset);
void xsave_random(uint8_t *area);
void fxsave_image(uint8_t *area, const uint8_t *from);
extern unsigned xsave_used; /* bytes of the standard format */

/* compare.c: the first difference as text; NULL: none. */
const char *compare_machines(const struct machine *expected, const struct machine *found, uint16_t ignored,
                             uint64_t flags_ignored);
const char *compare_faults(const struct fault *expected, const struct fault *found);
const char *compare_rescued(void);
#endif
#endif
