/* What one hardened module's runtime owns in a process, besides struct state: mapped once, at start or first entry. */
#ifndef STEMRW_RUNTIME_H
#define STEMRW_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

#include "effects/hooks.h"
#include "include/abi.h"
#include "include/state.h"
#include "os/linux.h"

struct cache;
struct context;
struct perf_map;
struct rule;

extern const struct payload_header payload_header __attribute__((visibility("hidden")));

static inline uintptr_t load_bias(void) {
    return (uintptr_t)&payload_header - payload_header.header_address;
}

static inline struct state *module_state(void) {
    return (struct state *)(load_bias() + payload_header.state_address);
}

static inline const struct patch *patch_table(void) {
    return (const struct patch *)((const char *)&payload_header + payload_header.patch_table);
}

static inline struct patch_state *patch_state_of(const struct patch *patch) {
    return &module_state()->patches[patch - patch_table()];
}

/* A mapping, as /proc/self/maps had it. */
struct range {
    uintptr_t start, end;
    uintptr_t base;         /* lowest mapping of the same file: PC - base is the link-time address in a shared object */
    uint32_t flags;         /* enum range_flags */
    uint32_t name;          /* perf_map_name of its file */
    uint64_t device, inode; /* of its file */
    uint64_t identity;      /* RANGE_LATE: hash of what it is told by, when it was found … */
    uint64_t build_id;      /* … and where its build-id lies, counted from .base; 0: none */
};
enum range_flags {
    RANGE_FILE = 1,     /* backed by a file, or the vDSO */
    RANGE_WRITABLE = 2, /* can change under us: where it is, or by another mapping of the same file */
    RANGE_SHARED = 8,   /* with other processes (MAP_SHARED) */
    RANGE_LATE = 4,     /* mapped after our start, or written since: may change again while no region runs */
    RANGE_WATCHED = 16, /* RANGE_LATE without a build-id, or written: what was translated is compared byte by byte */
};
enum { MAX_RANGES = 1024 };
struct range_list {
    uint32_t count;
    uint32_t full;                   /* there were more */
    struct range ranges[MAX_RANGES]; /* ascending */
};

enum { PLACE_BITS = 15 };

/* From the auxiliary vector; zero where it was not to be had. */
struct program_facts {
    uint64_t headers, header_count; /* program headers of the program */
    uint64_t vdso;
};

struct runtime {
    struct program_facts facts;
    struct cache *cache;        /* translate/cache.h */
    struct perf_map *perf_map;  /* events/perf_map.h; NULL: not wanted */
    uint32_t *threads_known;    /* [0] is 0 in a forked child: contexts name threads of its parent; [1] stays 0 there */
    uint32_t current_list;      /* of .lists: readers need no lock, the other one is filled under it */
    uint32_t handled;           /* bit per signal: our handler is installed */
    uint32_t secure;            /* AT_SECURE */
    uint32_t proc_missing;      /* /proc/self/maps could not be read */
    struct range_list lists[2]; /* code */
    struct range_list writable[2];   /* data, in step with .lists */
    struct os_sigaction actions[32]; /* what the program wants for the signals that we handle */
    struct os_sigaction gated[65];   /* its own handlers for the others, those that are called through our gate */
    uint32_t handlers_adopted;       /* those that were installed before the first region entry are among them */
    uint32_t padding;
    uint64_t xsave_bytes;                   /* largest xsave area */
    const struct rule *stack_rule;          /* RULE_STACK; NULL: none */
    uint64_t rule_kinds;                    /* bit per kind: there are rules of it */
    uint64_t places[1 << (PLACE_BITS - 6)]; /* a bit by hash for each address that a rule or a check is about */
    struct hooks hooks;                     /* effects/hooks.h */
    uintptr_t errno_location;               /* the C library's function; 0: not looked up yet */
    uintptr_t doubt_start, doubt_end; /* code that the program may have changed since the last look; end 0: none */
    char events_path[4096];
    /* Reading of /proc/self/maps, under the lock: a part of it, and the path of the line read last. */
    uint8_t scratch[65536];
    char path[4096];
};

static inline struct runtime *module_runtime(void) {
    return (struct runtime *)module_state()->runtime;
}

/* Prepare the process; `stack` is the initial stack (argc …) or NULL, `environment` envp or NULL. */
void runtime_start(const uint64_t *environment);

/* The module's last finaliser runs: it is unloaded now, or the process ends.  Handlers go back to the program, memory
 * to the system; from here on everything runs natively.  Nothing happens where a region is active, and memory stays
 * where other threads have used it (stop.c). */
void runtime_stop(void);

/* Of the calling thread. */
bool shadow_stack_active(void);

/* The lock around everything in struct runtime.  False: this very thread holds it (a signal handler interrupted it). */
bool runtime_lock(void);
void runtime_unlock(void);

/* The executable mapping that holds `address`, looked up again in /proc/self/maps when it is not known; NULL: none.
 * Under the lock; range_known does not look again and may be called at any time. */
const struct range *range_of(uintptr_t address);
const struct range *range_known(uintptr_t address);
/* End of the private writable mapping that holds `address`; 0: shared with others, or unknown. */
uintptr_t private_until(uintptr_t address);

void ranges_refresh(void); /* before the program locks itself in */
/* The program changes mappings, or what may be done with them, in there.  Whether code known to us is among them: the
 * next outermost entry looks again, and translates it anew. */
bool ranges_doubt(uintptr_t start, size_t size);

/* ranges.c, loader.c: fill a list. */
void range_add(struct range_list *list, struct range range); /* keeps the order; drops what overlaps */
void ranges_from_loader(struct range_list *list, const struct program_facts *facts);

/* Outermost region entry, where late or doubted ranges exist: is each still the code that was translated?  If not, the
 * translations are dropped.  False: the runtime is busy, run natively. */
bool ranges_verify(struct context *context);

enum { BREAKPOINT = 0xcc }; /* int3, as debuggers put it over an instruction's first byte */

/* The program's own code at `address`, patched bytes as they were, into bytes[15]; how many there are: 0 if none. */
unsigned source_bytes(uintptr_t address, uint8_t *bytes);

/* Whether the BREAKPOINT at `address` is not the program's own: its file has another byte there, so that a debugger or
 * the kernel (uprobes) must have put it; true too where the runtime is busy. */
bool breakpoint_at(uintptr_t address);

/* Whether there is one in the place of a patch's jump: whoever comes from the cache must go there natively.  Its hit
 * leads through the gate then, where the code is the original's. */
bool breakpoint_at_entry(uintptr_t address);

#endif
