/* Getting ready: once per process, at the program's start or at the first region entry. */
#include "region/runtime.h"

#include "arch/x86_64/entry.h"
#include "arch/x86_64/unistd.h"
#include "events/perf_map.h"
#include "fault/handlers.h"
#include "fault/signals.h"
#include "guard/redirect.h"
#include "region/context.h"
#include "region/rules.h"
#include "region/serve.h"
#include "translate/cache.h"

enum {
    AT_NULL = 0,
    AT_PHDR = 3,
    AT_PHNUM = 5,
    AT_SECURE = 23,
    AT_HWCAP2 = 26,
    AT_SYSINFO_EHDR = 33,
    HWCAP2_FSGSBASE = 2,
    PR_GET_AUXV = 0x41555856
};
enum { ARCH_SHSTK_STATUS = 0x5005 };

struct facts { /* what the auxiliary vector says */
    bool secure, fsgsbase;
    struct program_facts program;
};

static void read_auxiliary(const uint64_t *pairs, size_t count, struct facts *facts) {
    for (size_t i = 0; i + 1 < count && pairs[i] != AT_NULL; i += 2) {
        if (pairs[i] == AT_SECURE)
            facts->secure = pairs[i + 1] != 0;
        if (pairs[i] == AT_HWCAP2)
            facts->fsgsbase = pairs[i + 1] & HWCAP2_FSGSBASE;
        if (pairs[i] == AT_PHDR)
            facts->program.headers = pairs[i + 1];
        if (pairs[i] == AT_PHNUM)
            facts->program.header_count = pairs[i + 1];
        if (pairs[i] == AT_SYSINFO_EHDR)
            facts->program.vdso = pairs[i + 1];
    }
}

/* Without the start gate's stack: from the kernel, or from /proc. */
static void find_auxiliary(struct facts *facts) {
    uint64_t pairs[128];
    long bytes = os_call(NR_prctl, PR_GET_AUXV, (long)pairs, sizeof pairs, 0, 0, 0);
    if (bytes <= 0) {
        int fd = os_open_read("/proc/self/auxv");
        bytes = fd < 0 ? 0 : os_read(fd, pairs, sizeof pairs);
        if (fd >= 0)
            os_close(fd);
    }
    if (bytes > 0)
        read_auxiliary(pairs, (size_t)bytes / 8, facts);
    else
        facts->secure = true;
}

static bool starts_with(const char *text, const char *prefix) {
    while (*prefix)
        if (*text++ != *prefix++)
            return false;
    return true;
}

/* An absolute copy: the program may change its directory and its environment. */
static void set_events_path(struct runtime *runtime, const char *path) {
    size_t length = 0;
    if (*path != '/' && *path) {
        long count = os_getcwd(runtime->events_path, sizeof runtime->events_path);
        if (count <= 0)
            return;
        length = (size_t)count - 1;
        runtime->events_path[length++] = '/';
    }
    while (*path && length < sizeof runtime->events_path - 1)
        runtime->events_path[length++] = *path++;
    runtime->events_path[*path ? 0 : length] = 0; /* too long: none rather than another file */
}

static void read_environment(struct runtime *runtime, const uint64_t *environment) {
    static const char events[] = "STEMRW_EVENTS=", perf_map[] = "STEMRW_PERF_MAP=1";
    if (payload_header.events_path)
        set_events_path(runtime, (const char *)&payload_header + payload_header.events_path);
    if (!environment || runtime->secure)
        return;
    for (; *environment; environment++) {
        const char *variable = (const char *)*environment;
        if (starts_with(variable, events))
            set_events_path(runtime, variable + sizeof events - 1);
        if (starts_with(variable, perf_map) && !variable[sizeof perf_map - 1])
            perf_map_start();
    }
}

bool shadow_stack_active(void) {
    uint64_t features = 0;
    return os_call(NR_arch_prctl, ARCH_SHSTK_STATUS, (long)&features, 0, 0, 0, 0) == 0 && features & 1;
}

static uint64_t xsave_bytes(void) {
    uint32_t a = 0, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (a < 13)
        return 512;
    a = 13;
    c = 0;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return c ? c : 4096; /* for all features that the processor has */
}

static enum reason prepare(const uint64_t *environment) {
    struct state *state = module_state();
    /* A store that overruns .bss must fault, not reach us; collectors of garbage read all that the headers tell of. */
    os_protect((char *)state - OS_PAGE, OS_PAGE, OS_READ);
    struct facts facts = {0};
    if (environment) {
        const uint64_t *end = environment;
        while (*end)
            end++;
        read_auxiliary(end + 1, 128, &facts);
    } else {
        find_auxiliary(&facts);
    }
    if (!facts.fsgsbase)
        return REASON_NO_FSGSBASE;
    if (shadow_stack_active())
        return REASON_SHADOW_STACK;
    struct runtime *runtime = os_map(0, (sizeof *runtime + OS_PAGE - 1) & -OS_PAGE, OS_READ | OS_WRITE, false);
    if (!runtime)
        return REASON_NO_MEMORY;
    runtime->secure = facts.secure;
    runtime->facts = facts.program;
    runtime->xsave_bytes = xsave_bytes();
    runtime->stack_rule = rule_of(NULL, RULE_STACK);
    rules_start(runtime);
    state->runtime = (uint64_t)runtime;
    read_environment(runtime, environment);
    uint64_t size = (uint64_t)CONTEXT_SLOTS * CONTEXT_BYTES;
    void *contexts = NULL;
    while (!contexts && size >= CONTEXT_BYTES)
        if (!os_room(size, OS_NONE) || !(contexts = os_map(0, size, OS_NONE, false)))
            size /= 4;
    uint32_t *threads_known = os_map(0, OS_PAGE, OS_READ | OS_WRITE, false);
    if (!contexts || !threads_known || !os_wipe_on_fork(threads_known, OS_PAGE) || !cache_create())
        return REASON_NO_MEMORY;
    threads_known[0] = threads_known[1] = 1;
    runtime->threads_known = threads_known;
    state->contexts = (uint64_t)contexts;
    state->contexts_size = size - size % CONTEXT_BYTES;
    range_of((uintptr_t)&payload_header); /* while /proc can be read */
    return REASON_NONE;
}

void runtime_start(const uint64_t *environment) {
    struct state *state = module_state();
    if (!runtime_lock())
        return;
    if (state->status == STATUS_UNUSED) {
        enum reason reason = prepare(environment);
        if (reason)
            degrade(state, NULL, reason);
        else
            signals_install();
        state->abi_version = ABI_VERSION;
        state->magic = STATE_MAGIC;
        __atomic_store_n(&state->status, reason ? STATUS_DISABLED : STATUS_READY, __ATOMIC_RELEASE);
    }
    runtime_unlock();
}

/* ---- entry points of the gates ---- */

/* PATCH_START.  A program: `stack` is the kernel's (argc, argv, NULL, envp …); a library's initialiser: glibc passes
 * (argc, argv, envp).  PATCH_PROTECT: (start, size, …). */
void gate_start_service(const struct patch *patch, uint64_t argc, const uint64_t *argv, const uint64_t *envp,
                        const uint64_t *stack);
void gate_start_service(const struct patch *patch, uint64_t argc, const uint64_t *argv, const uint64_t *envp,
                        const uint64_t *stack) {
    if (patch->kind == PATCH_PROTECT)
        ranges_doubt((uintptr_t)argc, (size_t)argv);
    else if (payload_header.flags & HEADER_EXECUTABLE)
        runtime_start(stack + 1 + stack[0] + 1);
    else if (payload_header.flags & HEADER_GLIBC && argv && envp == argv + argc + 1)
        runtime_start(envp);
    else
        runtime_start(NULL);
    if (patch->kind == PATCH_START)
        guards_start();
}

/* Whether other threads may be alive, as far as this thread can tell; entry.S compares the word from now on.  glibc's
 * control block says so at +0x18; musl's has its neighbours in the list of threads at +0x10 and +0x18: itself, if there
 * is no other. */
static void look_for_threads(struct context *context) {
    const uint64_t *block = (const uint64_t *)context->owner;
    context->exact = true;
    context->threads = block ? (uint32_t)block[GLIBC_MULTIPLE_THREADS / 8] : 0;
    if (payload_header.flags & HEADER_GLIBC)
        context->exact = context->threads != 0;
    else if (block)
        context->exact = block[0] != context->owner || block[2] != context->owner || block[3] != context->owner;
}

/* A region is called natively and the quick way in did not apply.  `entry` is rsp there.  1: the context is in gs and a
 * mark may be made; 0: run the original. */
uint32_t gate_slow(const struct patch *patch, uint64_t entry);
uint32_t gate_slow(const struct patch *patch, uint64_t entry) {
    struct state *state = module_state();
    if (state->status == STATUS_UNUSED)
        runtime_start(NULL);
    if (state->status != STATUS_READY) {
        degrade(state, patch, REASON_NONE);
        return 0;
    }
    if (state->handlers_lent && !state->sealed)
        signals_reclaim();
    struct context *context = context_current(state);
    if (!context) {
        if (!(context = context_acquire(state, patch)))
            return 0;
        signals_check();
        handlers_adopt();
    }
    if (context->depth) {
        /* Left without our seeing it (a native longjmp)?  Else a signal handler, or a vfork child, runs inside. */
        if (context_is_lent(context) || entry - (uint64_t)context < CONTEXT_BYTES || entry <= context->mark_rsp ||
            entry - context->mark_rsp > (64ul << 20)) {
            degrade(state, patch, REASON_REENTERED);
            return 0;
        }
        commit_all(context);
    }
    if (state->slow_entries & SLOW_LATE_RANGES && !ranges_verify(context)) {
        degrade(state, patch, REASON_BUSY);
        return 0;
    }
    perf_map_after_fork();
    look_for_threads(context);
    return 1;
}

/* ---- the lock ---- */

/* Sealed, it is tried once and without system calls; nothing that is done then takes long. */
enum { SEALED_HOLDER = ~0 };

static bool try_lock(struct state *state, uint32_t me) {
    uint32_t holder = 0;
    return __atomic_compare_exchange_n(&state->lock, &holder, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

bool runtime_lock(void) {
    struct state *state = module_state();
    if (state->sealed)
        return try_lock(state, (uint32_t)SEALED_HOLDER);
    uint64_t all = all_but_handled(), mask = 0; /* safe_copy needs its faults */
    uint32_t me = (uint32_t)os_gettid();
    if (__atomic_load_n(&state->lock, __ATOMIC_RELAXED) == me)
        return false;
    os_sigmask(OS_SIG_SETMASK, &all, &mask);
    for (unsigned tries = 0; !try_lock(state, me); tries++) {
        uint32_t holder = __atomic_load_n(&state->lock, __ATOMIC_RELAXED);
        /* After a fork the holder may not exist on this side; what it was making was not yet reachable. */
        if (tries % 256 == 255 && holder != (uint32_t)SEALED_HOLDER && !os_thread_alive((int)holder))
            __atomic_compare_exchange_n(&state->lock, &holder, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        os_yield();
    }
    state->lock_mask = mask;
    return true;
}

void runtime_unlock(void) {
    struct state *state = module_state();
    const bool masked = state->lock != (uint32_t)SEALED_HOLDER;
    uint64_t mask = state->lock_mask;
    __atomic_store_n(&state->lock, 0, __ATOMIC_RELEASE);
    if (masked)
        os_sigmask(OS_SIG_SETMASK, &mask, NULL);
}
