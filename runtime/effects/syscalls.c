/* System calls that a region makes: log, undo, defer, or give way. */
#include "effects/call.h"

#include "arch/x86_64/entry.h"
#include "arch/x86_64/unistd.h"
#include "effects/positions.h"
#include "events/perf_map.h"
#include "fault/budget.h"
#include "guard/arena.h"
#include "region/log.h"
#include "region/room.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "translate/unit.h"

enum {
    CLONE_VM = 0x100,
    CLONE_PIDFD = 0x1000,
    CLONE_THREAD = 0x10000,
    CLONE_PARENT_SETTID = 0x100000,
    CLONE_CHILD_SETTID = 0x1000000,
    PR_SET_SECCOMP = 22,
    SECCOMP_SET_MODE_FILTER = 1, /* and SECCOMP_SET_MODE_STRICT before it */
};

void give_way(struct context *context, enum reason reason) {
    go_native(context, instruction_address(context), reason);
}

void skip(struct context *context, long result) {
    context->registers.general[RAX] = (uint64_t)result;
    context->registers.general[RCX] = context->target;
    context->registers.general[R11] = context->registers.flags;
    context->resume = context->after_syscall;
}

void watch(struct context *context) {
    context->argument[1] = context->after_syscall;
    context->after_syscall = (uint64_t)&syscall_done;
}

/* Pipes, terminals and sockets have none: what was read from or written to them is gone. */
static void before_move(struct context *context, uint64_t number, bool reads) {
    const bool saved = !context->state->sealed && position_save(context, number, reads);
    context->irreversible += !saved;
    if (!context->state->sealed && saved != reads)
        watch(context);
}

/* ---- processes ---- */

struct clone_arguments { /* of clone3 */
    uint64_t flags, pidfd, child_thread, parent_thread;
};

/* False: they cannot be read, and the kernel says EFAULT. */
static bool clone_arguments(const struct context *context, uint64_t number, struct clone_arguments *given) {
    *given = (struct clone_arguments){.flags = number == NR_vfork ? CLONE_VM : 0};
    if (number == NR_clone)
        *given = (struct clone_arguments){argument(context, 0), argument(context, 2), argument(context, 3),
                                          argument(context, 2)};
    return number != NR_clone3 || safe_copy(given, (const void *)argument(context, 0), sizeof *given) == sizeof *given;
}

static void before_clone(struct context *context, uint64_t number) {
    struct clone_arguments given;
    if (!clone_arguments(context, number, &given))
        return;
    if (given.flags & CLONE_THREAD) { /* what others see must be final */
        give_way(context, REASON_SHARED_MEMORY_CHILD);
        return;
    }
    if (given.flags & CLONE_PIDFD)
        log_range(context, given.pidfd, sizeof(int32_t));
    if (given.flags & CLONE_PARENT_SETTID)
        log_range(context, given.parent_thread, sizeof(int32_t));
    context->irreversible++;
    watch(context);
    if (given.flags & CLONE_VM)
        context->resume += SHARED_MEMORY_CHILD;
}

/* From here on any system call of ours may be the process's end: what they would tell is looked up now. */
static void before_seal(struct context *context, uint64_t number) {
    const uint64_t what = argument(context, 0);
    context->irreversible++;
    if (context->state->sealed || (number == NR_prctl ? what != PR_SET_SECCOMP : what > SECCOMP_SET_MODE_FILTER))
        return;
    ranges_refresh();
    log_run_deferred(context);
    arena_open_all();
    context->state->sealed = 1;
    watch(context);
}

static void before_limit(struct context *context, uint64_t number) {
    enum { RLIMIT_AS = 9 };
    const bool named = number == NR_prlimit64; /* the process comes first */
    const uint64_t process = named ? (uint32_t)argument(context, 0) : 0, wish_at = argument(context, named ? 2 : 1);
    uint64_t soft;
    context->irreversible++;
    if (argument(context, named) == RLIMIT_AS && !context->state->sealed && (!process || (int)process == os_getpid()) &&
        safe_copy(&soft, (const void *)wish_at, sizeof soft) == sizeof soft)
        make_room(context, soft);
}

/* In the child: its C library keeps the thread's number, which a rollback must not make the parent's again; and where
 * files are read and written is the parent's as well. */
static void after_fork(struct context *context, uint64_t number) {
    struct clone_arguments given;
    int32_t thread;
    log_forget_descriptors(context, 0, UINT32_MAX, true);
    if (!context->state->sealed)
        context->thread = os_gettid();
    if (clone_arguments(context, number, &given) && given.flags & CLONE_CHILD_SETTID &&
        safe_copy(&thread, (const void *)given.child_thread, sizeof thread) == sizeof thread)
        log_amend(context, given.child_thread, &thread, sizeof thread);
    perf_map_after_fork();
}

/* To wait and to wake writes nothing; where the kernel changes a word, others have seen it. */
static void before_futex(struct context *context) {
    uint32_t first, second;
    context->irreversible++;
    command_bytes(NR_futex, 0, argument(context, 1), &first);
    command_bytes(NR_futex, 4, argument(context, 1), &second);
    if (context->exact && (first || second))
        give_way(context, REASON_SHARED_STATE);
}

/* True: a fault was raised. */
static bool before_own(struct context *context, uint64_t number) {
    switch (number) {
    case NR_rt_sigaction:
        before_sigaction(context);
        return false;
    case NR_rt_sigprocmask:
        before_sigmask(context);
        return false;
    case NR_sigaltstack:
        before_sigaltstack(context);
        return false;
    case NR_kill:
    case NR_tkill:
    case NR_tgkill:
        return before_kill(context, number);
    case NR_clone:
    case NR_clone3:
    case NR_fork:
    case NR_vfork:
        before_clone(context, number);
        return false;
    case NR_execve: /* if it fails, the region goes on, else this memory ends; unless it is a vfork child's parent's */
    case NR_execveat:
        if (context->state->sealed || context_is_lent(context))
            commit_all(context);
        return false;
    case NR_exit: /* of a thread, whose context others take over, or that is such a child */
    case NR_exit_group:
        commit_all(context);
        return false;
    case NR_futex:
        before_futex(context);
        return false;
    case NR_prctl:
    case NR_seccomp:
        before_seal(context, number);
        return false;
    case NR_setrlimit:
    case NR_prlimit64:
        before_limit(context, number);
        return false;
    case NR_rt_sigreturn:
    case NR_arch_prctl:
        give_way(context, REASON_UNSUPPORTED);
        return false;
    default:
        return before_memory(context, number);
    }
}

bool before_syscall(struct context *context) {
    uint64_t number = context->registers.general[RAX];
    const struct syscall_rule *rule = syscall_rule(number);
    if (!rule) {
        give_way(context, REASON_UNKNOWN_SYSCALL);
        return false;
    }
    for (unsigned i = 0; i < rule->outputs; i++)
        if (!log_output(context, &rule->output[i])) {
            give_way(context, rule->output[i].kind == SIZE_COMMAND ? REASON_UNKNOWN_SYSCALL : REASON_LOG_FULL);
            return false;
        }
    context->inputs += rule->effect != EFFECT_POSITION && rule->outputs && rule->output[0].kind != SIZE_FIXED;
    context->argument[0] = number;
    budget_syscall(context);
    switch ((enum effect)rule->effect) {
    case EFFECT_PURE:
        return false;
    case EFFECT_IRREVERSIBLE:
        if (context->exact && (number == NR_close || number == NR_close_range))
            log_forget_descriptors(context, (uint32_t)argument(context, 0),
                                   (uint32_t)argument(context, number == NR_close ? 0 : 1), false);
        if (number == NR_dup2 || number == NR_dup3)
            log_forget_descriptors(context, (uint32_t)argument(context, 1), (uint32_t)argument(context, 1), true);
        context->irreversible++;
        return false;
    case EFFECT_POSITION:
        if (number == NR_writev && before_message(context))
            return true;
        before_move(context, number, rule->outputs);
        return false;
    case EFFECT_DESCRIPTOR:
        watch(context);
        return false;
    case EFFECT_OWN:
        return before_own(context, number);
    }
    return false;
}

void after_syscall(struct context *context) {
    uint64_t number = context->argument[0], result = context->registers.general[RAX];
    context->resume = context->argument[1];
    const struct syscall_rule *rule = syscall_rule(number);
    if (rule->effect == EFFECT_DESCRIPTOR) {
        if (result < -4096ull)
            log_operation(context, LOG_CLOSE, result, NULL, 0);
    } else if (rule->effect == EFFECT_POSITION) {
        if (rule->outputs)
            context->inputs += (int64_t)result > 0; /* at the end of a pipe nothing comes, however often one asks */
        else
            position_moved(context, number, result);
    } else if (number == NR_mmap || number == NR_mremap) {
        after_memory(context, number, result);
    } else if (number == NR_prctl || number == NR_seccomp) {
        context->state->sealed = result < -4096ull; /* else it was refused, or only asked what there is */
    } else if (result == 0) {
        /* A forked child. */
        after_fork(context, number);
    }
}
