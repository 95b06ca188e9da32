/* System calls about signals: what the program wants is kept, what it must not have of ours stays hidden. */
#include "effects/call.h"

#include "arch/x86_64/unistd.h"
#include "effects/messages.h"
#include "fault/handlers.h"
#include "fault/signals.h"
#include "region/log.h"
#include "region/rescue.h"
#include "region/runtime.h"

enum {
    EPERM = 1,
};

/* The thread's signal mask, as the program has it. */
static long change_mask(struct context *context, int how, const uint64_t *set, uint64_t *old) {
    const uint64_t all = all_but_handled();
    uint64_t now;
    if (how > OS_SIG_SETMASK || how < OS_SIG_BLOCK)
        return -OS_EINVAL;
    os_sigmask(OS_SIG_SETMASK, &all, &now); /* none is held from here on that was not before */
    uint64_t *mask = context->held ? &context->held_mask : &now;
    *old = *mask;
    if (set)
        *mask = how == OS_SIG_BLOCK ? *old | *set : how == OS_SIG_UNBLOCK ? *old & ~*set : *set;
    if (!context->held)
        os_sigmask(OS_SIG_SETMASK, &now, NULL);
    return 0;
}

static void save_mask(struct context *context) {
    uint64_t mask;
    if (change_mask(context, OS_SIG_BLOCK, NULL, &mask) == 0)
        log_operation(context, LOG_SIGNAL_MASK, mask, NULL, 0);
}

static bool is_fatal_by_default(uint64_t signal) {
    struct os_sigaction action = {0};
    if (signal >= 32)
        return false;
    if (is_handled(signal))
        action = module_runtime()->actions[signal];
    else if (signal != OS_SIGABRT || os_sigaction((int)signal, NULL, &action))
        return false;
    return action.handler == OS_SIG_DFL;
}

/* abort and its kin end in a signal that the thread sends itself. */
bool before_kill(struct context *context, uint64_t number) {
    uint64_t signal = argument(context, number == NR_tgkill ? 2 : 1);
    if (context->state->sealed) { /* who we are, and what would happen, would have to be asked for */
        context->irreversible += signal != 0;
        return false;
    }
    bool me = number == NR_kill ? (int)argument(context, 0) == os_getpid()
              : number == NR_tkill
                  ? (int)argument(context, 0) == os_gettid()
                  : (int)argument(context, 0) == os_getpid() && (int)argument(context, 1) == os_gettid();
    if (me && is_fatal_by_default(signal) && in_checkpoint(context))
        return raise_fault(context, FAULT_ABORT, instruction_address(context), 0);
    if (signal)
        context->irreversible++;
    return false;
}

/* Of a program that is about to die by SIGABRT, but for us. */
bool before_message(struct context *context) {
    if (!in_checkpoint(context) || context->state->sealed)
        return false;
    const enum fault_class fault_class = last_message(context);
    return fault_class && is_fatal_by_default(OS_SIGABRT) &&
           raise_fault(context, fault_class, instruction_address(context), 0);
}

void before_sigaction(struct context *context) {
    uint64_t signal = argument(context, 0), wish_at = argument(context, 1), old_at = argument(context, 2);
    if (old_at)
        log_range(context, old_at, sizeof(struct os_sigaction));
    struct os_sigaction wish, old;
    if (!signal || signal > LAST_SIGNAL || argument(context, 3) != 8 ||
        (wish_at && safe_copy(&wish, (const void *)wish_at, sizeof wish) < sizeof wish))
        return; /* the kernel says EINVAL, EFAULT */
    const long result = handlers_change((int)signal, wish_at ? &wish : NULL, &old);
    if (!result && wish_at)
        context->irreversible +=
            !log_operation(context, LOG_SIGNAL_ACTION, signal, (const uint64_t *)&old, sizeof old / sizeof(uint64_t));
    if (!result && old_at)
        safe_copy((void *)old_at, &old, sizeof old);
    skip(context, result);
}

/* A fault while its signal is blocked kills without asking any handler: in a region these signals stay open. */
void before_sigmask(struct context *context) {
    uint64_t how = argument(context, 0), set_at = argument(context, 1), old_at = argument(context, 2);
    uint64_t set, old;
    if (old_at)
        log_range(context, old_at, sizeof old);
    if (!set_at || argument(context, 3) != sizeof set)
        return;
    save_mask(context);
    if ((how == OS_SIG_UNBLOCK && !context->held) || safe_copy(&set, (const void *)set_at, sizeof set) < sizeof set)
        return;
    set &= how == OS_SIG_UNBLOCK ? ~0ull : all_but_handled();
    long result = change_mask(context, (int)how, &set, &old);
    if (!result && old_at)
        safe_copy((void *)old_at, &old, sizeof old);
    skip(context, result);
}

/* Whether the program runs on this signal stack, as the kernel would tell, to whom C does not. */
static bool is_on(const struct context *context, const struct os_stack *stack) {
    const uint64_t above = context->registers.general[RSP] - stack->start;
    return !(stack->flags & (OS_SS_DISABLE | (int32_t)OS_SS_AUTODISARM)) && above && above <= stack->size;
}

/* Our own signal stack is none in the program's eyes; where it has none of its own, ours is there. */
void before_sigaltstack(struct context *context) {
    uint64_t wish_at = argument(context, 0), old_at = argument(context, 1);
    if (old_at)
        log_range(context, old_at, sizeof(struct os_stack));
    struct os_stack old;
    long result = os_sigaltstack(NULL, &old);
    if (context->alternate_ours)
        old = (struct os_stack){.flags = OS_SS_DISABLE};
    if (is_on(context, &old))
        old.flags |= OS_SS_ONSTACK;
    if (wish_at)
        result = old.flags & OS_SS_ONSTACK ? -EPERM : os_sigaltstack((const struct os_stack *)wish_at, NULL);
    if (!result && old_at)
        safe_copy((void *)old_at, &old, sizeof old);
    if (!result && wish_at) {
        const uint64_t data[2] = {(uint32_t)old.flags, old.size};
        log_operation(context, LOG_SIGNAL_STACK, old.start, data, 2);
        provide_signal_stack(context);
    }
    skip(context, result);
}
