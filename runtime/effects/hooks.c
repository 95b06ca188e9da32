#include "effects/hooks.h"

#include "arch/x86_64/emit.h"
#include "decode/decode.h"
#include "effects/allocator.h"
#include "effects/words.h"
#include "fault/stack.h"
#include "guard/calls.h"
#include "region/loader.h"
#include "region/log.h"
#include "region/runtime.h"
#include "region/serve.h"

enum { LONGEST_NAME = 32 };

struct name {
    char text[LONGEST_NAME];
    uint8_t kind;
};

static const struct name names[] = {
    {"malloc", HOOK_MALLOC},
    {"calloc", HOOK_CALLOC},
    {"realloc", HOOK_REALLOC},
    {"reallocarray", HOOK_REALLOCARRAY},
    {"free", HOOK_FREE},
    {"cfree", HOOK_FREE},
    {"memalign", HOOK_MEMALIGN},
    {"aligned_alloc", HOOK_MEMALIGN},
    {"posix_memalign", HOOK_POSIX_MEMALIGN},
    {"valloc", HOOK_VALLOC},
    {"pvalloc", HOOK_LEAVE},
    {"malloc_trim", HOOK_LEAVE},
    {"mallopt", HOOK_LEAVE},
    {"mallinfo", HOOK_LEAVE},
    {"mallinfo2", HOOK_LEAVE},
    {"malloc_stats", HOOK_LEAVE},
    {"malloc_info", HOOK_LEAVE},
    {"pthread_rwlock_rdlock", HOOK_LEAVE},
    {"pthread_rwlock_wrlock", HOOK_LEAVE},
    {"pthread_rwlock_tryrdlock", HOOK_LEAVE},
    {"pthread_rwlock_trywrlock", HOOK_LEAVE},
    {"pthread_rwlock_timedrdlock", HOOK_LEAVE},
    {"pthread_rwlock_timedwrlock", HOOK_LEAVE},
    {"pthread_rwlock_clockrdlock", HOOK_LEAVE},
    {"pthread_rwlock_clockwrlock", HOOK_LEAVE},
    {"pthread_rwlock_unlock", HOOK_LEAVE},
    {"pthread_spin_lock", HOOK_LEAVE}, /* counts down, as references are; whoever unlocks forgets the count */
    {"pthread_spin_trylock", HOOK_LEAVE},
    {"pthread_spin_unlock", HOOK_LEAVE},
    {"pthread_cond_wait", HOOK_SETTLE},
    {"pthread_cond_timedwait", HOOK_SETTLE},
    {"pthread_cond_clockwait", HOOK_SETTLE},
    {"pthread_cond_signal", HOOK_SETTLE},
    {"pthread_cond_broadcast", HOOK_SETTLE},
    {"pthread_barrier_wait", HOOK_SETTLE},
};

/* Of an allocator that defines these itself, instead of leaving them to the C++ library, which calls malloc. */
static const struct name operators[] = {
    {"_Znwm", HOOK_NEW},
    {"_Znam", HOOK_NEW},
    {"_ZnwmRKSt9nothrow_t", HOOK_MALLOC},
    {"_ZnamRKSt9nothrow_t", HOOK_MALLOC},
    {"_ZnwmSt11align_val_t", HOOK_NEW_ALIGNED},
    {"_ZnamSt11align_val_t", HOOK_NEW_ALIGNED},
    {"_ZdlPv", HOOK_FREE},
    {"_ZdaPv", HOOK_FREE},
    {"_ZdlPvm", HOOK_FREE},
    {"_ZdaPvm", HOOK_FREE},
    {"_ZdlPvSt11align_val_t", HOOK_FREE},
    {"_ZdaPvSt11align_val_t", HOOK_FREE},
    {"_ZdlPvmSt11align_val_t", HOOK_FREE},
    {"_ZdaPvmSt11align_val_t", HOOK_FREE},
};

static uintptr_t definition_in(const struct link_map *module, const char *name) {
    uintptr_t address;
    return loader_symbols(module, name, &address, 1) ? not_redirected(address) : 0;
}

static void add_names(struct hooks *hooks, const struct link_map *module, const struct name *name,
                      const struct name *end) {
    for (; name < end; name++) {
        uintptr_t found[4];
        const unsigned count = loader_symbols(module, name->text, found, 4);
        for (unsigned i = 0; i < count && hooks->count < MAX_HOOKS; i++)
            hooks->hooks[hooks->count++] = (struct hook){.address = not_redirected(found[i]), .kind = name->kind};
    }
}

/* What a stub of calls that are bound late comes to first ends in a call of the function that binds. */
static uintptr_t binding_function(uintptr_t resolver) {
    enum { STEPS = 64, LONGEST = 15 };
    struct instruction decoded;
    uint8_t bytes[LONGEST];
    for (unsigned i = 0; i < STEPS; i++, resolver += decoded.length) {
        const size_t available = safe_copy(bytes, (const void *)resolver, sizeof bytes);
        if (!decode(bytes, (unsigned)available, resolver, 64, &decoded) || decoded.flow == FLOW_RETURN)
            return 0;
        if (decoded.flow == FLOW_CALL)
            return decoded.target;
    }
    return 0;
}

static void add_binding(struct hooks *hooks) {
    struct link_map module;
    bool more = loader_first(&module_runtime()->facts, &module);
    for (unsigned i = 0; more && i < MAX_MODULES; i++, more = loader_next(&module)) {
        const uintptr_t resolver = loader_resolver(&module), address = resolver ? binding_function(resolver) : 0;
        if (address && hooks->count < MAX_HOOKS) {
            hooks->hooks[hooks->count++] = (struct hook){.address = address, .kind = HOOK_RESOLVE};
            return;
        }
    }
}

/* The module that defines malloc, and the C library, where locks and condition variables are. */
static void look_up(struct hooks *hooks) {
    struct link_map allocator, library;
    *hooks = (struct hooks){.known = 1};
    add_binding(hooks);
    const uintptr_t locks = loader_definition("pthread_mutex_lock", &library);
    const uintptr_t malloc = loader_definition("malloc", &allocator);
    const struct name *end = names + sizeof names / sizeof *names;
    if (malloc)
        add_names(hooks, &allocator, names, end);
    if (malloc)
        add_names(hooks, &allocator, operators, operators + sizeof operators / sizeof *operators);
    if (locks && (!malloc || library.dynamic != allocator.dynamic))
        add_names(hooks, &library, names, end);
    if (!malloc)
        return;
    /* All of one allocator: another's would not know its blocks. */
    hooks->malloc = malloc;
    hooks->calloc = definition_in(&allocator, "calloc");
    hooks->free = definition_in(&allocator, "free");
    if (!(hooks->memalign = definition_in(&allocator, "memalign")))
        hooks->memalign = definition_in(&allocator, "aligned_alloc");
    hooks->usable_size = definition_in(&allocator, "malloc_usable_size");
    hooks->glibc = definition_in(&allocator, "gnu_get_libc_version") != 0;
    /* Asked from C, an allocator of this very file could come to a gate. */
    if (!hooks->calloc || !hooks->free || !hooks->memalign || !hooks->usable_size || allocator.bias == load_bias())
        hooks->malloc = 0;
}

static unsigned filter_bit(uintptr_t address) {
    return (unsigned)(address * 0x9e3779b97f4a7c15ull >> 54);
}

/* Others read meanwhile, without the lock: what stays the same is written over itself. */
static void publish(struct hooks *hooks, const struct hooks *fresh) {
    for (uint32_t i = 0; i < fresh->count; i++) {
        const unsigned bit = filter_bit(fresh->hooks[i].address);
        hooks->hooks[i] = fresh->hooks[i];
        hooks->filter[bit / 64] |= 1ull << bit % 64;
    }
    __atomic_store_n(&hooks->count, fresh->count, __ATOMIC_RELEASE);
    hooks->calloc = fresh->calloc;
    hooks->free = fresh->free;
    hooks->memalign = fresh->memalign;
    hooks->usable_size = fresh->usable_size;
    hooks->glibc = fresh->glibc;
    __atomic_store_n(&hooks->malloc, fresh->malloc, __ATOMIC_RELEASE);
    hooks->known = 1;
}

static enum hook_kind kind_at(uintptr_t address) {
    const struct hooks *hooks = &module_runtime()->hooks;
    for (uint32_t i = 0; i < hooks->count; i++)
        if (hooks->hooks[i].address == address)
            return (enum hook_kind)hooks->hooks[i].kind;
    return HOOK_NONE;
}

bool is_hook(uintptr_t address) {
    if (is_guard_entry(address))
        return true;
    struct hooks *hooks = &module_runtime()->hooks;
    if (!hooks->known) {
        struct hooks fresh;
        look_up(&fresh);
        publish(hooks, &fresh);
    }
    const unsigned bit = filter_bit(address);
    return hooks->filter[bit / 64] >> bit % 64 & 1 && kind_at(address) != HOOK_NONE;
}

bool allocator_known(void) {
    return module_runtime()->hooks.malloc;
}

/* Everything done so far becomes final, but for the locks that the region holds, and counts as one irreversible effect;
 * the region goes on, so that a rescue comes back to here at most.  The function that this is about is not logged: what
 * others do with it meanwhile could not be told from what we did. */
static void settle(struct context *context, uintptr_t address) {
    const uint64_t irreversible = context->irreversible, rsp = context->registers.general[RSP];
    uint64_t caller = 0;
    safe_copy(&caller, (const void *)rsp, sizeof caller);
    if (caller == ((const struct mark *)context->mark)->return_address || !words_settle(context)) {
        go_native(context, address, REASON_SHARED_STATE);
        return;
    }
    context->irreversible = irreversible + 1;
    context->quiet = context->mark_rsp = rsp;
}

bool hook_return(struct context *context, uint64_t result) {
    uint64_t *general = context->registers.general;
    uintptr_t caller = 0;
    safe_copy(&caller, (const void *)general[RSP], sizeof caller);
    general[RAX] = result;
    general[RSP] += 8;
    shadow_forget(context, general[RSP] - 8, general[RSP]);
    return go_to(context, caller);
}

/* Its counters are no one thread's, what it writes else is the same every time, and all arguments are integers. */
static bool resolve(struct context *context, uintptr_t address) {
    typedef uint64_t function(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
    const uint64_t *general = context->registers.general;
    return hook_return(context, ((function *)address)(general[RDI], general[RSI], general[RDX], general[RCX],
                                                      general[R8], general[R9]));
}

void quiet_ends(struct context *context) {
    if (!context->quiet || context->registers.general[RSP] <= context->quiet)
        return;
    context->quiet = 0;
    context->mark_rsp = context->depth ? ((const struct mark *)context->mark)->rsp : 0;
}

bool hook_call(struct context *context, uintptr_t address) {
    const enum hook_kind kind = kind_at(address);
    quiet_ends(context);
    if (is_guard_entry(address))
        return guarded_region_call(context, address);
    if (context->quiet)
        return false;
    if (kind == HOOK_RESOLVE)
        return resolve(context, address);
    if (kind == HOOK_SETTLE)
        settle(context, address);
    else if (kind == HOOK_LEAVE)
        go_native(context, address, REASON_SHARED_STATE);
    else
        return allocator_call(context, kind, address);
    return false;
}
