/* Thread contexts: made at a thread's first region entry, reused when their thread is gone. */
#include "region/context.h"

#include "arch/x86_64/entry.h"
#include "fault/budget.h"
#include "fault/stack.h"
#include "os/linux.h"
#include "region/log.h"
#include "region/runtime.h"
#include "region/serve.h"

static inline uint64_t fs_base(void) {
    uint64_t base;
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}

static inline void set_gs_base(uint64_t base) {
    __asm__ volatile("wrgsbase %0" ::"r"(base));
}

void degrade(struct state *state, const struct patch *patch, enum reason reason) {
    __atomic_add_fetch(&state->degradations, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&state->reasons[reason], 1, __ATOMIC_RELAXED);
    if (patch)
        __atomic_add_fetch(&patch_state_of(patch)->degradations, 1, __ATOMIC_RELAXED);
}

void provide_signal_stack(struct context *context) {
    struct os_stack now;
    context->alternate_ours = 0;
    if (os_sigaltstack(NULL, &now) || !(now.flags & OS_SS_DISABLE))
        return;
    struct os_stack ours = {(uint64_t)context + ALTERNATE_OFFSET, 0, 0, ALTERNATE_BYTES};
    context->alternate_ours = os_sigaltstack(&ours, NULL) == 0;
}

void restore_signal_stack(struct context *context, const struct os_stack *old) {
    const struct os_stack wish = {old->start, old->flags & ~OS_SS_ONSTACK, 0, old->size};
    os_sigaltstack(&wish, NULL);
    provide_signal_stack(context);
}

static void fill_table(struct context *context) {
    uint64_t *table = (uint64_t *)((char *)context + TABLE_OFFSET);
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        table[i] = (uint64_t)&miss;
}

static void adopt(struct context *context, struct state *state, uint64_t owner) {
    context->state = state;
    context->self = (uint64_t)context;
    context->owner = owner;
    context->thread = os_gettid();
    context->depth = context->mark_rsp = context->deferred = context->deferred_bytes = 0;
    context->quiet = context->guard = context->words = 0;
    context->held = 0;
    context->altered = context->slices = 0;
    context->interrupted = 0;
    shadow_forget(context, 0, ~0ull); /* a dead thread's calls, and its stack may be ours now */
    context->left = TICK_SLICE;
    context->ticked = 1;
    context->memory = 0;
    context->mark = context->marks_start;
    context->log = context->published = context->log_start;
    context->stack_top = (uint64_t)context + STACK_TOP_OFFSET;
    context->run_service = (uint64_t)&run_service;
    context->leave = (uint64_t)&leave;
    context->miss = (uint64_t)&miss;
    context->mark_region = (uint64_t)&mark_region;
    provide_signal_stack(context);
}

/* First use of a slot: tables, log and marks are mapped now and kept for later owners. */
static bool furnish(struct context *context) {
    char *slot = (char *)context;
    if (!os_protect(slot, STACK_OFFSET - OS_PAGE, OS_READ | OS_WRITE) ||
        !os_protect(slot + STACK_OFFSET, CONTEXT_USED - STACK_OFFSET, OS_READ | OS_WRITE) ||
        (stack_guarded() &&
         !os_protect(slot + SHADOW_OFFSET, (SHADOW_BYTES + OS_PAGE - 1) & -OS_PAGE, OS_READ | OS_WRITE)))
        return false;
    if (context->log_start)
        return true;
    size_t marks = (size_t)MARK_SLOTS * MARK_BYTES;
    char *start = NULL;
    while (!start && marks >= 64 * MARK_BYTES)
        if (!os_room(marks, OS_READ | OS_WRITE) || !(start = os_map(0, marks, OS_READ | OS_WRITE, false)))
            marks /= 4;
    if (!start)
        return false;
    context->marks_start = (uint64_t)start;
    context->mark_last = (uint64_t)start + marks - MARK_BYTES;
    context->epoch = 1ull << EPOCH_SHIFT;
    fill_table(context);
    if (log_create(context)) /* last: it says that all is there, to a child forked in between too */
        return true;
    os_unmap(start, marks);
    return false;
}

static struct context *slot_at(const struct state *state, uint64_t index) {
    return (struct context *)(state->contexts + index * CONTEXT_BYTES);
}

static struct context *own(const struct state *state) {
    uint64_t base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    if (base - state->contexts >= state->contexts_size)
        return NULL;
    struct context *context = (struct context *)base;
    return context->owner == fs_base() ? context : NULL;
}

/* In a forked child the contexts name threads of its parent.  One may be in use by the child's first thread, which is
 * the one that forked; if that has come here without, it has none.  Another cannot tell which one it is: all stay. */
static void follow_fork(struct state *state) {
    uint32_t *threads_known = module_runtime()->threads_known;
    if (*threads_known)
        return;
    const int process = os_getpid(), user = os_gettid() == process ? 0 : process;
    for (uint64_t i = 0; i < state->contexts_used; i++)
        slot_at(state, i)->thread = user;
    struct context *mine = own(state);
    if (mine)
        mine->thread = os_gettid();
    *threads_known = 1;
}

bool context_is_lent(const struct context *context) {
    if (context->state->sealed)
        return false;
    if (!*module_runtime()->threads_known && runtime_lock()) {
        follow_fork(context->state);
        runtime_unlock();
    }
    return context->thread != os_gettid();
}

/* A thread that has inherited the gs base from its parent, and the control block from the slot's dead thread, uses the
 * slot without having asked for it: the control block knows which one it is. */
static bool is_in_use(struct context *slot) {
    int32_t user = 0;
    const unsigned place = payload_header.flags & HEADER_GLIBC ? GLIBC_THREAD_ID : MUSL_THREAD_ID;
    if (os_thread_alive(slot->thread))
        return true;
    if (!slot->owner || safe_copy(&user, (const void *)(slot->owner + place), sizeof user) < sizeof user || user <= 0 ||
        !os_thread_alive(user))
        return false;
    slot->thread = user;
    return true;
}

/* The slot of this thread control block, one whose thread is gone, or a fresh one.  Under the lock. */
static struct context *claim(struct state *state, uint64_t owner) {
    follow_fork(state);
    for (uint64_t i = 0; i < state->contexts_used; i++)
        if (slot_at(state, i)->owner == owner)
            return slot_at(state, i); /* ours, or of a dead thread whose control block we have inherited */
    for (uint64_t i = 0; i < state->contexts_used; i++)
        if (!is_in_use(slot_at(state, i)))
            return slot_at(state, i);
    struct context *fresh = slot_at(state, state->contexts_used);
    const uint64_t room = state->contexts_size - state->contexts_used * CONTEXT_BYTES;
    if (room && !furnish(fresh)) { /* once, rather than at every entry from now on */
        os_unmap(fresh, room);
        state->contexts_size -= room;
        return NULL;
    }
    if (!room)
        return NULL;
    state->contexts_used++;
    return fresh;
}

void context_follow(struct context *context) {
    if (context->generation == context->state->generation)
        return;
    fill_table(context);
    context->generation = context->state->generation;
}

struct context *context_current(const struct state *state) {
    return state->status == STATUS_READY ? own(state) : NULL;
}

struct context *context_acquire(struct state *state, const struct patch *patch) {
    uint64_t base, owner = fs_base();
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    if (base && base - state->contexts >= state->contexts_size) {
        degrade(state, patch, REASON_FOREIGN_GS);
        return NULL;
    }
    if (state->sealed) {
        degrade(state, patch, REASON_SEALED);
        return NULL;
    }
    if (shadow_stack_active()) { /* since our start: a static program's C library switches it on behind that */
        degrade(state, patch, REASON_SHADOW_STACK);
        return NULL;
    }
    if (!runtime_lock()) {
        degrade(state, patch, REASON_BUSY);
        return NULL;
    }
    struct context *context = state->status == STATUS_READY ? claim(state, owner) : NULL; /* not stopped meanwhile */
    if (context && (context->owner != owner || context->thread != os_gettid())) /* not mine yet, or a dead twin's */
        adopt(context, state, owner);
    runtime_unlock();
    if (!context) {
        const bool all = state->contexts_size == (uint64_t)CONTEXT_SLOTS * CONTEXT_BYTES;
        degrade(state, patch, all ? REASON_TOO_MANY_THREADS : REASON_NO_MEMORY);
        return NULL;
    }
    set_gs_base((uint64_t)context);
    return context;
}

bool contexts_active(const struct state *state) {
    const struct context *mine = own(state);
    for (uint64_t i = 0; i < state->contexts_used; i++) {
        const struct context *context = slot_at(state, i);
        if (context != mine && context->depth && os_thread_alive(context->thread))
            return true;
    }
    return false;
}

void context_leave(struct state *state) {
    struct context *context = own(state);
    if (!context)
        return;
    commit_all(context);
    struct os_stack now;
    if (context->alternate_ours && !os_sigaltstack(NULL, &now) && now.start == (uint64_t)context + ALTERNATE_OFFSET) {
        struct os_stack none = {.flags = OS_SS_DISABLE};
        os_sigaltstack(&none, NULL);
    }
    context->owner = 0;
    context->thread = 0;
    set_gs_base(0);
}

bool contexts_destroy(struct state *state) {
    for (uint64_t i = 0; i < state->contexts_used; i++)
        if (slot_at(state, i)->thread && os_thread_alive(slot_at(state, i)->thread))
            return false;
    for (uint64_t i = 0; i < state->contexts_used; i++) {
        struct context *context = slot_at(state, i);
        log_destroy(context);
        os_unmap((void *)context->marks_start,
                 (context->mark_last + MARK_BYTES - context->marks_start + OS_PAGE - 1) & -OS_PAGE);
    }
    os_unmap((void *)state->contexts, state->contexts_size);
    state->contexts = state->contexts_size = state->contexts_used = 0;
    return true;
}
