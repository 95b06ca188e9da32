/* What one thread needs while it runs in a region.
 *
 * A context is one slot of an arena that is reserved at start; the gs base points to it while (and after) the thread
 * runs regions, so translated code reaches every field as gs:[offset].  A gs base can be inherited by a new thread or a
 * vfork child: `owner` (the fs base) and `thread` say whose context it is.
 *
 *     +0          struct context
 *     +FILTER     first-write filter        uint64_t[FILTER_ENTRIES]
 *     +WORDS      where the log has the words that locked operations have changed
 *     +TABLE      indirect branch lookup    uint64_t[TABLE_ENTRIES], by the low 16 bits of the target
 *     +STACK      private stack of the runtime's C code
 *     +ALTERNATE  signal stack, used only where the thread has none of its own
 *     +SNAPSHOT   all registers at the checkpoints of regions whose strategy goes back there
 *     +SHADOW     calls that have not returned yet      struct shadow_call, see fault/stack.h
 */
#ifndef STEMRW_CONTEXT_H
#define STEMRW_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "include/abi.h"
#include "include/state.h"

enum {
    CONTEXT_BYTES = 0x120000,
    CONTEXT_SLOTS = 128,
    FILTER_ENTRIES = 4096,
    FILTER_OFFSET = 0x2000,
    WORDS_OFFSET = 0xa000, /* struct word_slot[WORD_SLOTS], effects/words.h */
    WORD_SLOTS = 1024,
    TABLE_ENTRIES = 65536,
    TABLE_OFFSET = 0x10000,
    STACK_OFFSET = 0x91000,             /* a guard page lies below */
    STACK_TOP_OFFSET = 0xc0000 - 0x440, /* off the page boundary: no 4K aliasing with the program's stack */
    ALTERNATE_OFFSET = 0xc1000,
    ALTERNATE_BYTES = 0x20000,
    CONTEXT_USED = 0xe1000,
    SNAPSHOT_OFFSET = 0xe2000, /* mapped when a strategy needs it, see strategy/snapshot.h */
    SHADOW_OFFSET = 0xfc000,   /* mapped when the plan has RULE_STACK */
    SHADOW_BYTES = 0x20020,    /* the last entry may begin at the last byte that is indexed */
};

enum {
    PATCH_TO_STATE_SHIFT = 1, /* struct patch is twice as large as struct patch_state */
    GLIBC_THREAD_ID = 0x2d0,  /* struct pthread.tid, from the fs base */
    MUSL_THREAD_ID = 0x30,
    GLIBC_MULTIPLE_THREADS = 0x18, /* tcbhead_t.multiple_threads, from the fs base */
    LOG_KEEP_BYTES = 1 << 20,      /* a longer log is given back to the system at commit */
};
_Static_assert(sizeof(struct patch) == sizeof(struct patch_state) << PATCH_TO_STATE_SHIFT, "the tables run in step");

/* In argument[1] of SERVICE_LOG, above the size. */
#define LOG_SEGMENT (1u << 16) /* the address counts from the fs base */
#define LOG_ATOMIC (1u << 17)  /* a locked read-modify-write */
#define LOG_MASKED (1u << 18)  /* of some elements; .target is the instruction's slot */
#define LOG_REACH (1u << 19)   /* it may overwrite what a function returns by (fault/overwrite.h) */

enum {
    GRANULE_SHIFT = 9, /* first-write filter: 512-byte granules */
    GRANULE_BYTES = 1 << GRANULE_SHIFT,
    OVERHANG_BYTES = 64,  /* longest single store: one that begins in the granule may end this far behind it */
    TICK_SLICE = 1 << 16, /* ticks after which C looks at the budgets */
    EPOCH_SHIFT = 38,     /* a tag is granule number (47 - 9 bits) | epoch << EPOCH_SHIFT */
};

/* A checkpoint: the state to which a rescue returns.  Made by mark_region in arch/x86_64/entry.S. */
struct mark {
    uint64_t rsp; /* where the return address lies */
    uint64_t return_address;
    uint64_t rbx, rbp, r12, r13, r14, r15;
    uint64_t rcx, rdx, rsi, rdi, r8, r9, r10,
        r11;      /* not dead at a call: callers know what a local callee leaves alone */
    uint64_t log; /* position in the log */
    const struct patch *patch;
    uint32_t mxcsr;
    uint16_t x87_control;
    uint16_t rescues; /* 1: there was one inside, since `seen` */
    struct patch_state *patch_state;
    /* fault/budget.c: context.ticked when it was first looked at (0: not yet; the others mean nothing then), and what
     * context.memory was. */
    uint64_t seen;
    int64_t memory;
    /* Only where the region has a strategy that looks (strategy/strategy.h), stale otherwise. */
    const struct rule *slice; /* of a checkpoint whose return_address is SLICE_MARK */
    uint32_t tries;
    uint32_t cpu; /* fault/budget.c: the thread's CPU time when that was first asked for, in milliseconds; 0: not yet */
};
/* Which general register the word i from .rbx on is of. */
enum { MARK_REGISTERS = 14 };
static inline unsigned mark_register(unsigned i) {
    return (unsigned)((i < 6 ? 0xfedc53ull >> 4 * i : 0xba987621ull >> 4 * (i - 6)) & 15);
}
enum { MARK_BYTES = 192, MARK_SLOTS = 1 << 17 };
_Static_assert(sizeof(struct mark) == MARK_BYTES, "entry.S steps by MARK_BYTES");

/* The last rescue of a region with RULE_ESCALATE, and how many before it were like it (region/escalate.c). */
struct repeats {
    const struct patch *patch;
    uint64_t outer, entries; /* the mark further out, and how often its region had been entered */
    uint64_t fault, moment;  /* hashes: of the fault and the call; of all that the loop around it could change */
    uint64_t inputs;
    uint32_t same, alike; /* rescues in a row with the same moment; with the same fault */
    uint64_t since;       /* the thread's CPU time, in milliseconds, when the first of those was */
};
enum { REPEATS = 8 };

/* Memory that was got since `record` was the log's end, see region/fresh.h; record 0: none. */
struct fresh {
    uint64_t start, end, record;
};
enum { FRESH_MOST = 4 };

struct registers { /* in encoding order; the program's, while C runs */
    uint64_t general[16];
    uint64_t flags;
};

struct context {
    uint64_t self;
    uint64_t owner;     /* fs base of the thread */
    uint64_t depth;     /* marks */
    uint64_t mark_rsp;  /* of the innermost mark; 0 without one: then every indirect branch leaves the cache */
    uint64_t mark;      /* struct mark *, the innermost; marks[0] is never used */
    uint64_t mark_last; /* no further mark behind this one */
    uint64_t epoch;     /* in tag position */
    uint64_t log;       /* next free byte */
    uint64_t threads;   /* glibc's multiple_threads word as last seen; entry compares */
    uint64_t spill[4];  /* registers saved by translated code; each slow path has its own */
    uint64_t target;    /* where an indirect branch wants to go */
    uint64_t resume;    /* where the runtime returns to: code cache, or native */
    uint64_t argument[2];
    uint64_t service; /* which C function a stub wants: enum service */
    uint64_t after_syscall;
    uint64_t behind; /* a locked instruction: in the cache, what follows it */
    uint64_t stack_top;
    uint32_t rescue_mxcsr; /* loaded by rescue_entry */
    uint16_t rescue_x87;
    uint16_t padding;
    uint64_t rescue_double;
    uint32_t rescue_is_double;
    uint32_t padding_rescue;
    uint64_t run_service; /* stub addresses, reached as jmp gs:[…] from anywhere in the cache */
    uint64_t leave;
    uint64_t miss;
    uint64_t mark_region;
    uint64_t log_start;
    uint64_t deferred; /* records in the log that C must see at the commit */
    uint32_t exact;    /* other threads may be alive: log exactly the bytes written */
    uint32_t held;     /* a signal waits, see fault/handlers.c; 0: none */
    uint64_t slices;   /* 0: no checkpoint of a slice is active */
    uint64_t left;     /* ticks until C looks at the budgets: never 0 here */
    struct registers registers;

    /* From here on only C looks. */
    struct state *state;
    uint64_t log_end;
    uint64_t marks_start;
    uint64_t deferred_bytes;
    uint64_t irreversible; /* system calls since the outermost entry that could not be undone */
    uint64_t log_peak;
    int32_t thread; /* kernel thread id */
    uint32_t alternate_ours;
    uint32_t fault_class;
    uint32_t generation;  /* of the code cache, as the lookup table knows it */
    uint32_t keeps_files; /* 1: what a rollback undoes has written stays written (effects/positions.h) */
    uint64_t fault_pc;
    uint64_t fault_address;
    uint64_t fault_rdx;
    uint64_t published; /* in the log: others may have seen what was written before */
    uint64_t quiet;     /* while rsp is not above: nothing is logged (effects/hooks.h); 0: always log */
    uint64_t guard;     /* rsp of guarded_call, while it runs */
    uint64_t words;     /* that locked operations were logged for since the outermost entry: a bit by hash of each */
    uint64_t ticked;    /* slices of ticks that are used up; from 1 on */
    int64_t memory;     /* bytes got less bytes given back, by what runs in regions */
    uint64_t held_mask; /* the thread's signal mask while one is held */
    /* A handler of the program's runs natively while its thread is in a region: where it returns to (0: none does), and
     * where in the cache that was. */
    uint64_t interrupted, interrupted_rsp, interrupted_code;
    uint64_t inputs; /* system calls that have brought the regions something from outside, and were not undone */
    struct repeats repeats[REPEATS];
    struct fresh fresh[FRESH_MOST];
    uint64_t sequence;      /* of manufactured values, STRATEGY_OBLIVIOUS */
    uint64_t altered;       /* the mark whose region runs for the second time, STRATEGY_RETRY; 0: none does */
    uint32_t altered_exact; /* .exact as it was before */
    uint32_t snapshots;     /* 1: mapped */
    uint64_t strategy;      /* enum strategy, of the recovery that is being recorded */
    uint8_t scratch[64] __attribute__((aligned(64))); /* what an access that is left out finds in memory's place */
};

_Static_assert(sizeof(struct context) <= FILTER_OFFSET, "the filter begins behind the context");

static inline struct mark *innermost(const struct context *context) {
    return (struct mark *)context->mark;
}

/* Whether the innermost mark is a region's: one that a rescue can return to. */
static inline bool in_checkpoint(const struct context *context) {
    return context->depth && ((const struct mark *)context->mark)->patch->kind == PATCH_REGION;
}

/* Requests of translated code to C, run on the private stack with every register saved in .registers. */
enum service {
    SERVICE_DISPATCH,  /* indirect branch missed the table: .target */
    SERVICE_LINK,      /* direct branch to a block that is not linked yet: slot in .argument[0] */
    SERVICE_LOG,       /* a store the filter did not know: address .argument[0], bytes .argument[1] */
    SERVICE_LOG_OTHER, /* a store of unusual form: the instruction's address, as a slot, in .argument[0] */
    SERVICE_SYSCALL,   /* before a system call; .target: address behind it */
    SERVICE_SYSCALL_DONE,
    SERVICE_NATIVE,  /* give up emulation here: where, as a slot, in .argument[0], reason in .argument[1] */
    SERVICE_STACK,   /* rsp was loaded with something: is it still ours? next instruction, as a slot, in .argument[0] */
    SERVICE_EPOCH,   /* epochs are used up */
    SERVICE_HOOK,    /* a function that is undone as an operation is called: its address, as a slot, in .argument[0] */
    SERVICE_CHECK,   /* an instruction that is looked at before it executes: its address, as a slot, in .argument[0] */
    SERVICE_TICK,    /* a slice of ticks is used up */
    SERVICE_GUARD,   /* before an access that a rule wants checked: its instruction, as a slot, in .argument[0] */
    SERVICE_ENTER,   /* outermost entry of a region that has no translation yet: .target */
    SERVICE_RETURN,  /* a ret is not known to be its call's (fault/stack.h): .argument[0] */
    SERVICE_ENTERED, /* the checkpoint of a region was made whose strategy wants to know */
    SERVICE_SLICE,   /* a slice begins, or ends: the address, as a slot, in .argument[0] */
    SERVICE_COUNT,
};

/* The context of the calling thread, made if need be and put into its gs base; NULL: run natively (counted). */
struct context *context_acquire(struct state *state, const struct patch *patch);

/* A signal stack, where the thread has none: stack exhaustion could not be handled otherwise. */
void provide_signal_stack(struct context *context);

/* The program's signal stack is again what it was. */
struct os_stack;
void restore_signal_stack(struct context *context, const struct os_stack *old);

/* Forget lookups of an older generation of the code cache. */
void context_follow(struct context *context);

/* Whether a child on our memory (vfork) runs on its parent's context.  Sealed, it cannot be told: false. */
bool context_is_lent(const struct context *context);

/* The one in the gs base, if it is this thread's; NULL otherwise. */
struct context *context_current(const struct state *state);

/* The module is about to be unloaded; under the lock. */
bool contexts_active(const struct state *state); /* is any other thread in a region? */
/* The calling thread's goes back: signal stack, gs base.  Natively, as a finaliser runs, it is in no region: one that
 * it seems to be in was left by a longjmp of a signal handler. */
void context_leave(struct state *state);
bool contexts_destroy(struct state *state); /* false: other threads that live have one, all stay */

void degrade(struct state *state, const struct patch *patch, enum reason reason);

#endif
