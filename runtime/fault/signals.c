/* The handler decides in this order:
 *
 *   in safe_copy, safe_exchange         → its recovery label (the probe was the point)
 *   in what guarded_call has called     → the same
 *   in the code cache, a region active  → this is the fault we exist for: go on at rescue_entry
 *   anything else                       → the program's: its own action is installed and the instruction runs again, so
 *                                         that it gets exactly the delivery, or the core dump, it would have had
 *
 * The handler never unwinds or jumps: it edits the context that the kernel restores.
 */
#include "fault/signals.h"

#include "arch/x86_64/entry.h"
#include "arch/x86_64/exact.h"
#include "arch/x86_64/unistd.h"
#include "fault/handlers.h"
#include "guard/arena.h"
#include "region/context.h"
#include "region/patches.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "strategy/strategy.h"
#include "translate/cache.h"

enum {
    NULL_PAGES = 64 << 10,
    STACK_REACH = 64 << 10, /* a fault this close to rsp, in memory that is not there, is the end of the stack */
    SI_KERNEL = 0x80,
    TRAP_BRKPT = 1, /* also a step, where a hypervisor loses the bit of DR6 that says so; int3 has SI_KERNEL */
    TRAP_TRACE = 2,
    TRAP_FLAG_BITS = 0x100 | 0x400, /* TF and DF are not for the runtime's C */
};

static void on_signal(int signal, struct os_siginfo *info, struct os_context *at);

static void install(int signal, struct os_sigaction *previous) {
    struct os_sigaction action; /* field by field: a constant initialiser with addresses would need relocations */
    action.handler = (uint64_t)&on_signal;
    action.flags = OS_SA_SIGINFO | OS_SA_ONSTACK | OS_SA_RESTORER;
    action.restorer = (uint64_t)&signal_return;
    action.mask = all_but_handled(); /* the program's handlers shall not run on top of ours */
    os_sigaction(signal, &action, previous);
}

void signals_install(void) {
    struct runtime *runtime = module_runtime();
    for (int signal = 1; signal < 32; signal++)
        if (is_handled(signal))
            install(signal, &runtime->actions[signal]);
    runtime->handled = HANDLED_SIGNALS;
}

void signals_reclaim(void) {
    struct state *state = module_state();
    uint32_t lent = __atomic_exchange_n(&state->handlers_lent, 0, __ATOMIC_ACQ_REL);
    for (int signal = 1; signal < 32; signal++)
        if (lent >> signal & 1)
            install(signal, &module_runtime()->actions[signal]);
}

void signals_wish(int signal, const struct os_sigaction *wish, struct os_sigaction *old) {
    struct os_sigaction *action = &module_runtime()->actions[signal];
    if (old)
        *old = *action;
    if (wish)
        *action = *wish;
}

/* Sent by somebody (kill, raise, sigqueue), rather than by an instruction. */
static bool was_sent(const struct os_siginfo *info) {
    return info->code <= 0;
}

static void install_wish(int signal) {
    struct os_sigaction wish = module_runtime()->actions[signal];
    wish.flags |= wish.restorer ? OS_SA_RESTORER : 0;
    os_sigaction(signal, &wish, NULL);
}

/* Ours, or that of another hardened module's runtime: it lends to ours what is not its own. */
static bool is_of_a_runtime(const struct os_sigaction *action) {
    if (action->handler <= OS_SIG_IGN || !(action->flags & OS_SA_RESTORER) || action->restorer % 32)
        return false; /* aligned, it lies on one page, which is there */
    return ((const uint64_t *)action->restorer)[1] == ((const uint64_t *)&signal_return)[1];
}

/* What that runtime lends to; NULL where it is of another version. */
static struct os_sigaction *wish_behind(const struct os_sigaction *action, int signal) {
    const uintptr_t end = action->restorer + 23;
    const struct payload_header *header = (const struct payload_header *)(end + (intptr_t)((const int32_t *)end)[-1]);
    if (header->abi_version != payload_header.abi_version || header->image_size != payload_header.image_size)
        return NULL;
    const struct state *state =
        (const struct state *)((uintptr_t)header + header->state_address - header->header_address);
    return state->runtime ? &((struct runtime *)state->runtime)->actions[signal] : NULL;
}

/* Ours may be behind those of other modules, which then lend to what ours would have. */
void signals_restore(void) {
    enum { MODULES = 16 };
    for (int signal = 1; signal < 32; signal++) {
        struct os_sigaction now, *behind = &now;
        if (!is_handled(signal) || os_sigaction(signal, NULL, &now))
            continue;
        if (now.handler == (uint64_t)&on_signal)
            install_wish(signal);
        for (int i = 0; i < MODULES && behind && is_of_a_runtime(behind); i++)
            if ((behind = wish_behind(behind, signal)) && behind->handler == (uint64_t)&on_signal)
                *behind = module_runtime()->actions[signal];
    }
}

/* Another runtime's is left where it is: taken over too, the two would lend to each other for ever. */
void signals_check(void) {
    struct os_sigaction now;
    for (int signal = 1; signal < 32; signal++) {
        if (!is_handled(signal) || os_sigaction(signal, NULL, &now) || is_of_a_runtime(&now))
            continue;
        install(signal, &module_runtime()->actions[signal]);
        degrade(module_state(), NULL, REASON_LOST_HANDLER);
    }
}

static void lend(int signal, struct os_siginfo *info) {
    install_wish(signal);
    __atomic_or_fetch(&module_state()->handlers_lent, 1u << signal, __ATOMIC_ACQ_REL);
    /* A trap is reported behind its instruction, and a signal that was sent has none: neither comes again by itself. */
    if (was_sent(info) || signal == OS_SIGTRAP || signal == OS_SIGSYS)
        os_call(NR_rt_tgsigqueueinfo, os_getpid(), os_gettid(), signal, (long)info, 0, 0);
}

static enum fault_class classify(int signal, const struct os_siginfo *info, const struct os_context *at) {
    switch (signal) {
    case OS_SIGFPE:
        return FAULT_DIVIDE;
    case OS_SIGILL:
        return FAULT_ILLEGAL_INSTRUCTION;
    case OS_SIGTRAP:
        return FAULT_TRAP;
    case OS_SIGSYS:
        return FAULT_BAD_SYSCALL;
    case OS_SIGBUS:
        return FAULT_BUS;
    default:
        break;
    }
    if (info->code == SI_KERNEL) /* general protection: non-canonical, or a misaligned vector */
        return FAULT_WILD_DEREFERENCE;
    if (info->address < NULL_PAGES)
        return FAULT_NULL_DEREFERENCE;
    if (info->address + STACK_REACH >= at->rsp && info->address < at->rsp + OS_PAGE)
        return FAULT_STACK_EXHAUSTION;
    return FAULT_WILD_DEREFERENCE;
}

/* The program's handler, or the core dump, shall find the original program. */
static void leave_cache(struct context *context, struct os_context *at) {
    exact_state(context, at);
    commit_all(context);
    at->rip = native_address(at->rip);
}

/* A strategy may go on from where the fault was. */
static void keep_registers(struct context *context, struct os_context *at) {
    exact_state(context, at);
    exact_keep(context, at);
}

static void on_signal(int signal, struct os_siginfo *info, struct os_context *at) {
    if (at->rip >= (uint64_t)&safe_copy_begin && at->rip < (uint64_t)&safe_copy_end) {
        at->rip = (uint64_t)&safe_copy_fault;
        return;
    }
    if (at->rip >= (uint64_t)&safe_exchange_begin && at->rip < (uint64_t)&safe_exchange_end) {
        at->rip = (uint64_t)&safe_exchange_fault;
        return;
    }
    struct context *context = context_current(module_state());
    if (context && context->guard && !was_sent(info)) {
        at->rsp = context->guard;
        at->rip = (uint64_t)&guarded_fault;
        return;
    }
    const bool stepped = info->code == TRAP_TRACE || info->code == TRAP_BRKPT;
    if (signal == OS_SIGTRAP &&
        (handlers_return(context, info, at) || (context && stepped && handlers_stepped(context, at))))
        return;
    uintptr_t pc = at->rip - (signal == OS_SIGTRAP);
    const bool in_cache = context && context->depth && cache_contains(pc);
    const bool guarded = signal == OS_SIGSEGV && !was_sent(info) && arena_holds(info->address);
    if (guarded && !(in_cache && in_checkpoint(context)) && arena_open(info->address))
        return;
    if (!in_cache || was_sent(info)) {
        lend(signal, info);
        if (in_cache)
            leave_cache(context, at);
        return;
    }
    const bool dies = strategy_lets_die(context);
    if (dies)
        degrade(context->state, innermost(context)->patch, REASON_STRATEGY);
    if (dies && signal == OS_SIGSYS) /* does not come again by itself: the system call is over */
        lend(signal, info);
    /* A function without checkpoint is emulated: there the fault is the program's own. */
    if (dies || !in_checkpoint(context)) {
        at->rip = pc;
        leave_cache(context, at);
        return; /* it comes once more, outside of any region */
    }
    context->fault_class = guarded ? arena_fault(info->address) : classify(signal, info, at);
    context->fault_pc = cache_source_of(pc);
    context->fault_address = signal == OS_SIGSEGV || signal == OS_SIGBUS ? info->address : context->fault_pc;
    context->fault_rdx = at->rdx;
    if (strategy_wanted(context)) {
        at->rip = pc;
        keep_registers(context, at);
    }
    at->eflags &= ~(uint64_t)TRAP_FLAG_BITS;
    at->rip = (uint64_t)&rescue_entry;
}
