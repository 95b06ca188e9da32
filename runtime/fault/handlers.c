/* A signal of the program's own comes while a thread is somewhere in a region.
 *
 *   in the code cache       the frame becomes the original program's (arch/x86_64/exact.c); the handler runs natively,
 *                           what it writes is not the region's to undo (log_settle), and where it returns another
 *                           signal is waiting that leads back to the cache.  Where that cannot be, the region is
 *                           committed and goes on natively
 *   in the runtime's C      the signal waits, blocked, until C is done (entry.S: .Lrelease)
 *   in an assembly stub     so too, but the thread is single-stepped out of the stub, since that may not end in C
 *
 * A handler that was installed by code that we do not see (another library's) runs on top of the cache.
 */
#include "fault/handlers.h"

#include "arch/x86_64/entry.h"
#include "arch/x86_64/exact.h"
#include "arch/x86_64/unistd.h"
#include "fault/signals.h"
#include "region/log.h"
#include "region/patches.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "translate/cache.h"

enum {
    TRAP_FLAG = 0x100,
    COME_BACK = -0x53545753, /* si_code of the signal that ends a handler's interruption; no one else's */
};

enum place { PLACE_NATIVE, PLACE_CACHE, PLACE_RELEASED, PLACE_STUB, PLACE_C };

static bool between(uint64_t address, const char *start, const char *end) {
    return address >= (uint64_t)start && address < (uint64_t)end;
}

static enum place place_of(const struct context *context, const struct os_context *at) {
    const char *image = (const char *)&payload_header;
    if (cache_contains(at->rip))
        return PLACE_CACHE;
    if (between(at->rsp, (const char *)context + STACK_OFFSET, (const char *)context + STACK_TOP_OFFSET))
        return PLACE_C; /* or the allocator, asked by it */
    if (!between(at->rip, image, image + payload_header.payload_size))
        return PLACE_NATIVE;
    if (!between(at->rip, image, image + payload_header.image_size))
        return PLACE_STUB; /* a gate, or displaced instructions */
    if (at->rip == (uint64_t)&released)
        return PLACE_RELEASED;
    if (between(at->rip, &miss, &signal_return) || at->rsp == (uint64_t)context + STACK_TOP_OFFSET)
        return PLACE_C;
    return between(at->rip, &gate_region, &miss) ? PLACE_STUB : PLACE_NATIVE;
}

static bool is_function(const struct os_sigaction *action) {
    return action->handler > OS_SIG_IGN && action->flags & OS_SA_RESTORER;
}

/* The kernel writes a signal's information only where it is asked for, and to hold it back takes that. */
static long install(int signal, const struct os_sigaction *wish, struct os_sigaction *old) {
    struct os_sigaction gate = *wish;
    gate.handler = (uint64_t)&signal_gate;
    gate.flags |= OS_SA_SIGINFO;
    return os_sigaction(signal, &gate, old);
}

/* False: the program's handler runs now, wherever we are. */
static bool hold(struct context *context, int signal, struct os_siginfo *info, struct os_context *at, bool step) {
    const struct os_sigaction *action = &module_runtime()->gated[signal];
    const uint64_t all = all_but_handled();
    const bool no_steps = module_state()->handlers_lent >> OS_SIGTRAP & 1 || at->mask >> (OS_SIGTRAP - 1) & 1;
    if (module_state()->sealed || (step && no_steps))
        return false;
    uint64_t mask;
    os_sigmask(OS_SIG_SETMASK, &all, &mask); /* until this handler returns */
    if (os_call(NR_rt_tgsigqueueinfo, os_getpid(), os_gettid(), signal, (long)info, 0, 0)) {
        os_sigmask(OS_SIG_SETMASK, &mask, NULL);
        return false;
    }
    if (action->flags & OS_SA_RESETHAND)
        install(signal, action, NULL);
    context->held_mask = at->mask;
    context->held = 1;
    at->mask = all;
    if (between(at->rip, &resume_decided, &resume_end))
        at->rip = (uint64_t)&resume;
    if (step)
        at->eflags |= TRAP_FLAG;
    return true;
}

bool handlers_stepped(struct context *context, struct os_context *at) {
    if (!context->held)
        return false;
    enum place place = place_of(context, at);
    if (place == PLACE_STUB)
        return true; /* one more */
    at->eflags &= ~(uint64_t)TRAP_FLAG;
    if (place == PLACE_C)
        return true; /* ends in .Lrelease */
    context->held = 0;
    at->mask = context->held_mask;
    return true;
}

/* sigaction and its like are to be seen to their end, which is behind their system call. */
static bool is_seen(const struct context *context, struct os_context at) {
    uint8_t before[2] = {0};
    if (!context->depth || in_checkpoint(context))
        return true;
    exact_state(context, &at);
    safe_copy(before, (const void *)(at.rip - sizeof before), sizeof before);
    return before[0] == 0x0f && before[1] == 0x05;
}

/* The handler returns to the original code; but before the first instruction there, as soon as SIGTRAP is no longer
 * blocked, one comes that leads back to the cache: handlers_return.  False: the region ends here. */
static bool come_back(struct context *context, const struct os_context *at, uintptr_t code, uint64_t mask) {
    const uint64_t trap = 1ull << (OS_SIGTRAP - 1);
    struct os_siginfo info = {.signal = OS_SIGTRAP, .code = COME_BACK};
    if (!in_checkpoint(context) || context->state->sealed || context->interrupted ||
        module_state()->handlers_lent >> OS_SIGTRAP & 1 || at->mask & trap)
        return false;
    log_settle(context);
    mask |= trap;
    os_sigmask(OS_SIG_SETMASK, &mask, NULL);
    if (os_call(NR_rt_tgsigqueueinfo, os_getpid(), os_gettid(), OS_SIGTRAP, (long)&info, 0, 0)) {
        mask &= ~trap;
        os_sigmask(OS_SIG_SETMASK, &mask, NULL);
        return false;
    }
    context->interrupted = at->rip;
    context->interrupted_rsp = at->rsp;
    context->interrupted_code = code;
    return true;
}

bool handlers_return(struct context *context, const struct os_siginfo *info, struct os_context *at) {
    if (info->code != COME_BACK)
        return false;
    if (!context || !context->interrupted) /* the thread came away from there without our seeing it */
        return true;
    const bool there = at->rip == context->interrupted && at->rsp == context->interrupted_rsp;
    context->interrupted = 0;
    if (!context->depth)
        return true;
    const uintptr_t code = there ? cache_code_of(context->interrupted_code, at->rip) : 0;
    if (code) {
        at->rip = code;
        return true;
    }
    degrade(context->state, ((const struct mark *)context->mark)->patch, REASON_SIGNAL);
    commit_all(context);
    if (there && !patch_at(at->rip))
        at->rip = native_address(at->rip);
    return true;
}

uint64_t signal_arrived(int signal, struct os_siginfo *info, struct os_context *at) {
    const uint64_t handler = module_runtime()->gated[signal].handler;
    struct context *context = at ? context_current(module_state()) : NULL;
    if (!context)
        return handler;
    if (at->rip == (uint64_t)&signal_gate) { /* two came at once: the one below has not got anywhere yet */
        uint64_t below = signal_arrived((int)at->rdi, (struct os_siginfo *)at->rsi, (struct os_context *)at->rdx);
        const uint64_t mask = context->held_mask;
        at->rip = below ? below : (uint64_t)&signal_gate_end;
        at->mask |= context->interrupted ? 1ull << (OS_SIGTRAP - 1) : 0; /* not before the one below has run */
        if (below || !hold(context, signal, info, at, false))
            return handler;
        context->held_mask = mask;
        return 0;
    }
    if (context->depth && context_is_lent(context))
        return handler;
    switch (place_of(context, at)) {
    case PLACE_NATIVE:
        return handler;
    case PLACE_C:
        return hold(context, signal, info, at, false) ? 0 : handler;
    case PLACE_STUB:
        return hold(context, signal, info, at, true) ? 0 : handler;
    case PLACE_RELEASED:
        exact_resume(context, at);
        break;
    case PLACE_CACHE:
        break;
    }
    if (!is_seen(context, *at))
        return handler;
    const uint64_t all = all_but_handled();
    uint64_t mask = 0;
    if (!context->state->sealed) /* another handler may enter a region as soon as .depth is 0 */
        os_sigmask(OS_SIG_SETMASK, &all, &mask);
    const uintptr_t code = at->rip;
    exact_state(context, at);
    if (come_back(context, at, code, mask))
        return handler;
    if (context->depth)
        degrade(context->state, ((const struct mark *)context->mark)->patch, REASON_SIGNAL);
    commit_all(context);
    if (!patch_at(at->rip)) /* at a patched entry the region is simply entered again */
        at->rip = native_address(at->rip);
    if (!context->state->sealed)
        os_sigmask(OS_SIG_SETMASK, &mask, NULL);
    return handler;
}

/* An action with the gate, as the program has set it. */
static void show(struct os_sigaction *action, const struct os_sigaction *record) {
    action->handler = record->handler;
    action->flags &= ~(uint64_t)OS_SA_SIGINFO | record->flags;
}

long handlers_change(int signal, const struct os_sigaction *wish, struct os_sigaction *old) {
    if (is_handled(signal)) {
        signals_wish(signal, wish, old);
        return 0;
    }
    struct os_sigaction *record = &module_runtime()->gated[signal];
    const struct os_sigaction before = *record;
    long result;
    if (wish && is_function(wish)) {
        struct os_sigaction own = *wish;
        if (own.handler == (uint64_t)&signal_gate) /* read by code that we do not see, and put back */
            show(&own, &before);
        *record = own;
        result = install(signal, &own, old);
    } else {
        result = os_sigaction(signal, wish, old);
    }
    if (result)
        *record = before;
    else if (old->handler == (uint64_t)&signal_gate)
        show(old, &before);
    return result;
}

/* Another hardened module's runtime has a gate before it already. */
static bool is_gate(uint64_t handler) {
    uint64_t magic = 0;
    safe_copy(&magic, (const void *)(handler - sizeof magic), sizeof magic);
    return magic == ((const uint64_t *)&signal_gate)[-1];
}

void handlers_adopt(void) {
    if (module_runtime()->handlers_adopted)
        return;
    module_runtime()->handlers_adopted = true;
    for (int signal = 1; signal <= LAST_SIGNAL; signal++) {
        struct os_sigaction now, old;
        if (is_handled(signal))
            continue;
        if (!os_sigaction(signal, NULL, &now) && is_function(&now) && !is_gate(now.handler))
            handlers_change(signal, &now, &old);
    }
}

void handlers_restore(void) {
    for (int signal = 1; signal <= LAST_SIGNAL; signal++) {
        struct os_sigaction now;
        if (!os_sigaction(signal, NULL, &now) && now.handler == (uint64_t)&signal_gate) {
            show(&now, &module_runtime()->gated[signal]);
            os_sigaction(signal, &now, NULL);
        }
    }
}
