/* The runtime's writable state, one per hardened module, behind its .bss: zero at start.
 *
 * `stemrw status` reads it from outside, so its layout is part of the ABI (abi.h says where it lies).  Everything large
 * (contexts, code cache, logs) is mapped at first use and only pointed to from here.
 */
#ifndef STEMRW_STATE_H
#define STEMRW_STATE_H

#include "include/abi.h"

#define STATE_MAGIC 0x6574617453575453ull /* "STSWStat"; written when the runtime becomes ready */

enum status {
    STATUS_UNUSED = 0, /* nothing has run yet */
    STATUS_READY = 1,
    STATUS_DISABLED = 2, /* this process cannot be helped (see .reasons): everything runs natively */
    STATUS_STOPPED = 3,  /* the module's last finaliser has run: it may be unloaded at any time */
};

/* Why original code was run natively where emulation was wanted.  Counted in state.reasons[]. */
enum reason {
    REASON_NONE = 0,
    REASON_NO_FSGSBASE = 1,   /* the CPU or kernel does not let user code use wrgsbase */
    REASON_NO_MEMORY = 2,     /* no memory for the context, the log or the cache */
    REASON_NO_EXECUTABLE = 3, /* pages cannot be made executable (SELinux execmem, MemoryDenyWriteExecute, seccomp) */
    REASON_FOREIGN_GS = 4,    /* the program, or another hardened module, uses the gs base itself */
    REASON_SHADOW_STACK = 5,  /* a user shadow stack is active */
    REASON_UNKNOWN_INSTRUCTION = 6,
    REASON_UNKNOWN_CODE = 7,    /* code that is generated, writable, or in a mapping we cannot vouch for */
    REASON_UNKNOWN_SYSCALL = 8, /* a system call whose effect on memory is not known */
    REASON_LOG_FULL = 9,
    REASON_REENTERED = 10, /* a signal handler or a vfork child called a region while one was active */
    REASON_TOO_MANY_THREADS = 11,
    REASON_STACK_SWITCH = 12,        /* the region left for another stack */
    REASON_UNSUPPORTED = 13,         /* instruction known but not carried: far transfers, scatter, gs operands … */
    REASON_BUSY = 14,                /* the runtime's lock was held by this very thread */
    REASON_LOST_HANDLER = 15,        /* our signal handler had been replaced, or its signal was blocked */
    REASON_SHARED_MEMORY_CHILD = 16, /* the region starts a thread, or a child that shares its memory */
    REASON_SHARED_STATE = 17,        /* a locked operation with other threads alive: cannot be undone byte by byte */
    REASON_BREAKPOINT = 18,          /* a debugger's: it shall stop where it was set */
    REASON_SIGNAL = 19,              /* a signal handler of the program's ran in the middle of it */
    REASON_SEALED = 20, /* would take system calls, which a filter of the program may answer with its death */
    REASON_GUARD = 23,  /* a heap guard could not be had, or stood in the way of native code; see docs/heap-guards.md */
    REASON_RULE = 24,   /* nothing ran natively: errno or an out-parameter could not be set, a predicate not be told */
    REASON_STRATEGY = 25, /* a fault in a region whose strategy is to let the program die of it */
    REASON_COUNT = 32,
};

enum slow_entry {
    SLOW_LATE_RANGES = 1, /* code exists that was mapped after our start: entries verify it */
    SLOW_PERF_MAP = 2,    /* a forked child begins a map of its own */
};

struct patch_state {
    uint64_t entries; /* region entries, from native code and nested */
    uint64_t commits; /* normal leaves (outermost entries only are counted exactly; nested with their parents) */
    uint64_t recoveries;
    uint64_t degradations;
    uint64_t translation; /* address in the code cache behind the checkpoint; 0: not translated yet */
    uint64_t completed;   /* accesses that were left out (STRATEGY_OBLIVIOUS) */
    uint64_t peak_ticks;  /* what one entry has used at most, where that is counted: a multiple of a slice … */
    uint64_t peak_memory; /* … and bytes */
};

/* Readers from outside do not stop us: a copy is whole if .number is the same before and after it was made. */
struct recovery {
    uint64_t number;              /* of this recovery, from 1 on; 0 while the entry is written */
    int64_t seconds, nanoseconds; /* CLOCK_REALTIME */
    uint64_t pc;                  /* link-time address in its file, absolute where no file is known */
    uint64_t region;              /* link-time address of the function */
    uint64_t address;             /* that faulted */
    uint64_t returned;
    uint64_t log_bytes;
    uint32_t fault_class;
    int32_t thread;
    uint64_t irreversible; /* system calls of the region with effects that could not be undone */
    uint32_t own;          /* 1: pc lies in this module */
    uint32_t strategy;     /* enum strategy (rules.h): what was done */
};

enum { RECOVERY_RING = 16 };

struct state {
    uint64_t magic;
    uint32_t abi_version;
    uint32_t status;        /* enum status */
    uint32_t lock;          /* thread id of the holder, 0: free */
    uint64_t lock_mask;     /* the holder's signal mask */
    uint32_t slow_entries;  /* enum slow_entry: why every outermost entry asks C first; 0: none does */
    uint32_t generation;    /* of the code cache: grows when translations are dropped */
    uint32_t sealed;        /* 1: the program has installed a seccomp filter since the start */
    uint32_t handlers_lent; /* bit per signal: the program's own action is installed until the next region entry */
    uint64_t contexts;      /* start and size of the arena of thread contexts */
    uint64_t contexts_size;
    uint64_t contexts_used; /* slots */
    uint64_t runtime;       /* struct runtime, see region/runtime.h */
    uint64_t guards;        /* struct guards, see guard/arena.h; 0: none */
    uint64_t degradations;
    uint64_t recoveries;
    uint64_t units; /* translation units made, and their size */
    uint64_t unit_bytes;
    uint64_t log_peak; /* bytes */
    uint64_t reasons[REASON_COUNT];
    struct recovery ring[RECOVERY_RING]; /* [recoveries % RECOVERY_RING] is written next */
    struct patch_state patches[];
};

#define STATE_FIXED_BYTES sizeof(struct state)
#define STATE_PATCH_BYTES sizeof(struct patch_state)

#endif
