/* System calls that a region makes: log, undo, defer, or give way. */
#include "arch/x86_64/entry.h"
#include "arch/x86_64/unistd.h"
#include "effects/effects.h"
#include "effects/messages.h"
#include "events/perf_map.h"
#include "fault/budget.h"
#include "fault/handlers.h"
#include "fault/signals.h"
#include "guard/arena.h"
#include "region/fresh.h"
#include "region/log.h"
#include "region/rescue.h"
#include "region/room.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "translate/unit.h"

enum {
    MAP_PRIVATE = 2,
    MAP_TYPE = 0xf,
    MAP_FIXED = 0x10,
    MAP_FIXED_NOREPLACE = 0x100000,
    PROT_EXEC = 4,
    MADV_DONTNEED = 4,
    MADV_FREE = 8,
    CLONE_VM = 0x100,
    CLONE_PIDFD = 0x1000,
    CLONE_THREAD = 0x10000,
    CLONE_PARENT_SETTID = 0x100000,
    CLONE_CHILD_SETTID = 0x1000000,
    SEEK_CUR = 1,
    DEFERRED_BYTES = 64 << 20, /* beyond, memory is given back at once and a rollback cannot have it again */
    REFILL_BYTES = 4 << 20,    /* contents saved before memory is discarded; beyond: not undone, counted */
    SYSCALL_BYTES = 2,
    EPERM = 1,
    PR_SET_SECCOMP = 22,
    SECCOMP_SET_MODE_FILTER = 1, /* and SECCOMP_SET_MODE_STRICT before it */
};

static const uint8_t argument_registers[6] = {RDI, RSI, RDX, R10, R8, R9};

static uint64_t argument(const struct context *context, unsigned index) {
    return context->registers.general[argument_registers[index]];
}

static uintptr_t instruction_address(const struct context *context) {
    return context->target - SYSCALL_BYTES;
}

static void give_way(struct context *context, enum reason reason) {
    go_native(context, instruction_address(context), reason);
}

/* Done in the program's place: go on behind the instruction as after one. */
static void skip(struct context *context, long result) {
    context->registers.general[RAX] = (uint64_t)result;
    context->registers.general[RCX] = context->target;
    context->registers.general[R11] = context->registers.flags;
    context->resume = context->after_syscall;
}

/* The kernel does it, and C looks at the result. */
static void watch(struct context *context) {
    context->argument[1] = context->after_syscall;
    context->after_syscall = (uint64_t)&syscall_done;
}

/* ---- what the kernel writes ---- */

struct io_vector {
    uint64_t start, size;
};

struct message_header {
    uint64_t name;
    uint32_t name_size, padding;
    uint64_t vectors, vector_count;
    uint64_t control, control_size;
    uint64_t flags;
};

static bool log_vectors(struct context *context, uint64_t vectors, uint64_t count) {
    for (uint64_t i = 0; i < count && i < 1024; i++) {
        struct io_vector vector;
        if (safe_copy(&vector, (const void *)(vectors + i * sizeof vector), sizeof vector) < sizeof vector)
            return true;
        if (!log_range(context, vector.start, vector.size))
            return false;
    }
    return true;
}

static bool log_message(struct context *context, uint64_t address) {
    struct message_header message;
    if (safe_copy(&message, (const void *)address, sizeof message) < sizeof message)
        return true;
    return log_range(context, address, sizeof message) && log_range(context, message.name, message.name_size) &&
           log_range(context, message.control, message.control_size) &&
           log_vectors(context, message.vectors, message.vector_count);
}

static bool log_output(struct context *context, const struct output *output) {
    uint64_t address = argument(context, output->argument), with = argument(context, output->with);
    uint32_t pointed = 0;
    if (!address)
        return true;
    switch ((enum size_kind)output->kind) {
    case SIZE_FIXED:
        return log_range(context, address, output->size);
    case SIZE_ARGUMENT:
        return log_range(context, address, with < 1ull << 40 ? with * output->size + output->more : 0);
    case SIZE_POINTED:
        safe_copy(&pointed, (const void *)with, sizeof pointed);
        return log_range(context, address, (size_t)pointed + output->more);
    case SIZE_VECTOR:
        return log_vectors(context, address, with);
    case SIZE_MESSAGE:
        return log_message(context, address);
    case SIZE_MESSAGES:
        for (uint64_t i = 0; i < with && i < 1024; i++)
            if (!log_range(context, address + i * 64, 64) || !log_message(context, address + i * 64))
                return false;
        return true;
    case SIZE_BITS:
        return log_range(context, address, ((with & 0xffff) + 63) / 64 * 8);
    case SIZE_PAGES:
        return log_range(context, address, (with + OS_PAGE - 1) / OS_PAGE);
    case SIZE_COMMAND:
        return command_bytes(context->registers.general[RAX], output->argument, with, &pointed) &&
               log_range(context, address, pointed);
    }
    return false;
}

/* Offsets of pipes, terminals and sockets do not exist: what was read from or written to them is gone. */
static void save_position(struct context *context, bool reads) {
    if (context->state->sealed) {
        context->irreversible++;
        return;
    }
    uint64_t fd = argument(context, 0);
    long offset = os_call(NR_lseek, (long)fd, 0, SEEK_CUR, 0, 0, 0);
    const uint64_t data[] = {(uint64_t)offset, reads};
    if (offset < 0) {
        context->irreversible++;
        if (reads)
            watch(context);
    } else if (log_operation(context, LOG_OFFSET, fd, data, 2)) {
        context->inputs += reads; /* until that is undone: the same is read again then */
    }
}

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

/* ---- memory ---- */

static bool out_of_memory(struct context *context) {
    const uintptr_t pc = instruction_address(context);
    return raise_fault(context, FAULT_MEMORY_EXHAUSTION, pc, pc);
}

static uint64_t page_above(uint64_t address) {
    return (address + OS_PAGE - 1) & -OS_PAGE;
}

static void set_break(struct context *context, uint64_t current, uint64_t wish) {
    const bool logged = log_operation(context, LOG_BREAK, current, NULL, 0);
    const uint64_t now = (uint64_t)os_call(NR_brk, (long)wish, 0, 0, 0, 0, 0);
    if (now < current)
        fresh_forget(context, now, current);
    else if (logged)
        fresh_add(context, page_above(current), page_above(now));
    budget_memory(context, (int64_t)(now - current));
    skip(context, (long)now);
}

/* What was fresh stays so where it goes to; of the rest nobody knows here whether it is shared. */
static void after_remap(struct context *context, uint64_t from, uint64_t old_size, uint64_t to, uint64_t size) {
    const uint64_t data[] = {from, old_size, to, size};
    const bool fresh = old_size && fresh_holds(context, from, from + old_size);
    fresh_forget(context, from, from + old_size);
    fresh_forget(context, to, to + size); /* it may have been placed over such */
    if (log_operation(context, LOG_REMAP, 0, data, sizeof data / sizeof *data) && fresh)
        fresh_add(context, to, page_above(to + size));
    budget_memory(context, (int64_t)(size - old_size));
}

static bool before_memory(struct context *context, uint64_t number) {
    uint64_t start = argument(context, 0), size = argument(context, 1), how = argument(context, 2);
    uint64_t current;
    bool code;
    switch (number) {
    case NR_munmap: /* code too: until the commit it stays where it is, and what we know of it true */
        code = ranges_doubt(start, size);
        if (!context->exact && context->deferred_bytes + size <= DEFERRED_BYTES && !(start & (OS_PAGE - 1)) && size &&
            log_operation(context, LOG_DEFERRED_UNMAP, start, &size, 1)) {
            context->deferred_bytes += size;
            budget_memory(context, -(int64_t)size);
            skip(context, 0);
        } else if (code) {
            give_way(context, REASON_UNKNOWN_CODE);
        } else if (context->exact && log_touches(context, start, size)) { /* others may be given these addresses */
            give_way(context, REASON_SHARED_STATE);
        } else {
            context->irreversible++;
            fresh_forget(context, start, start + size);
            budget_memory(context, -(int64_t)size);
        }
        return false;
    case NR_mmap:
        if (budget_exceeded(context, size))
            return out_of_memory(context);
        if (argument(context, 3) & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
            if (ranges_doubt(start, size) || log_defers(context, start, size)) {
                give_way(context, REASON_UNKNOWN_CODE);
                return false;
            }
            log_range(context, start, size < REFILL_BYTES ? size : 0);
            fresh_forget(context, start, start + size);
            context->irreversible++;
        }
        watch(context);
        return false;
    case NR_mprotect:
    case NR_pkey_mprotect:
        if (ranges_doubt(start, size))
            give_way(context, REASON_UNKNOWN_CODE);
        else
            context->irreversible++;
        return false;
    case NR_mremap:
        if (ranges_doubt(start, size)) {
            give_way(context, REASON_UNKNOWN_CODE);
            return false;
        }
        if (context->exact) { /* moved back, it could lie over what others have mapped meanwhile */
            give_way(context, REASON_SHARED_STATE);
            return false;
        }
        if (how > size && budget_exceeded(context, how - size))
            return out_of_memory(context);
        if (size > how) /* shrinks: the tail's contents */
            log_range(context, start + how, size - how < REFILL_BYTES ? size - how : 0);
        watch(context);
        return false;
    case NR_brk:
        if (start && context->exact) { /* others may move it on */
            give_way(context, REASON_SHARED_STATE);
            return false;
        }
        current = (uint64_t)os_call(NR_brk, 0, 0, 0, 0, 0, 0);
        if (start && start < current)
            log_range(context, start, current - start < REFILL_BYTES ? current - start : 0);
        if (start > current && budget_exceeded(context, start - current))
            return out_of_memory(context);
        if (start) /* there and then: its result tells whether there was memory */
            set_break(context, current, start);
        return false;
    case NR_madvise:
        if (how == MADV_DONTNEED || how == MADV_FREE) {
            log_range(context, start, size < REFILL_BYTES ? size : 0);
            context->irreversible += size >= REFILL_BYTES;
        }
        return false;
    default: /* shared memory segments */
        context->irreversible++;
        return false;
    }
}

static void after_memory(struct context *context, uint64_t number, uint64_t result) {
    const uint64_t start = argument(context, 0), size = argument(context, 1), flags = argument(context, 3);
    if (result > -4096ull)
        return;
    if (number == NR_mremap) {
        after_remap(context, start, size, result, argument(context, 2));
        return;
    }
    if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && log_operation(context, LOG_UNMAP, result, &size, 1) &&
        (flags & MAP_TYPE) == MAP_PRIVATE)
        fresh_add(context, result, page_above(result + size));
    budget_memory(context, (int64_t)size);
}

/* ---- signals ---- */

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
static bool before_kill(struct context *context, uint64_t number) {
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
static bool before_message(struct context *context) {
    if (!in_checkpoint(context) || context->state->sealed)
        return false;
    const enum fault_class fault_class = last_message(context);
    return fault_class && is_fatal_by_default(OS_SIGABRT) &&
           raise_fault(context, fault_class, instruction_address(context), 0);
}

static void before_sigaction(struct context *context) {
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
static void before_sigmask(struct context *context) {
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
static void before_sigaltstack(struct context *context) {
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

/* In the child: its C library keeps the thread's number, which a rollback must not make the parent's again. */
static void after_fork(struct context *context, uint64_t number) {
    struct clone_arguments given;
    int32_t thread;
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
                                   (uint32_t)argument(context, number == NR_close ? 0 : 1));
        context->irreversible++;
        return false;
    case EFFECT_POSITION:
        if (number == NR_writev && before_message(context))
            return true;
        save_position(context, rule->outputs);
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
        context->inputs += (int64_t)result > 0; /* at the end of a pipe nothing comes, however often one asks */
    } else if (number == NR_mmap || number == NR_mremap) {
        after_memory(context, number, result);
    } else if (number == NR_prctl || number == NR_seccomp) {
        context->state->sealed = result < -4096ull; /* else it was refused, or only asked what there is */
    } else if (result == 0) { /* a forked child */
        after_fork(context, number);
    }
}
