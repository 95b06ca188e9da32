/* What every system call that we know writes to the program's memory, and whether it can be undone.
 *
 * Source: the manual pages' prototypes.  A call that is missing here makes the region go on natively (counted), so a
 * new kernel interface is never logged wrongly.  Missing on purpose: what the kernel writes later than in the call
 * (io_uring, io_submit, userfaultfd), what may write to anybody's memory (ptrace, process_vm_writev, process_madvise),
 * what is shaped by its contents (bpf, keyctl, quotactl).
 */
#include "arch/x86_64/unistd.h"
#include "effects/effects.h"

/* A rule is as many words as it needs: what struct syscall_rule begins with, and struct output of each area. */
#define HEAD(name, effect, outputs) NR_##name | (uint32_t)(effect) << 16 | (uint32_t)(outputs) << 24
#define NONE(name, effect) HEAD(name, effect, 0)
#define ONE(name, effect, a) HEAD(name, effect, 1), a
#define TWO(name, effect, a, b) HEAD(name, effect, 2), a, b
#define THREE(name, effect, a, b, c) HEAD(name, effect, 3), a, b, c
#define FOUR(name, effect, a, b, c, d) HEAD(name, effect, 4), a, b, c, d

#define AREA(argument, kind, with, size, more)                                                                         \
    (argument) | (kind) << 4 | (with) << 8 | (size) << 12 | (uint32_t)(more) << 24
#define FIXED(argument, bytes) AREA(argument, SIZE_FIXED, 0, bytes, 0)
#define COUNT(argument, count) AREA(argument, SIZE_ARGUMENT, count, 1, 0)
#define COUNT_AND(argument, count, more) AREA(argument, SIZE_ARGUMENT, count, 1, more)
#define ARRAY(argument, count, bytes) AREA(argument, SIZE_ARGUMENT, count, bytes, 0)
#define POINTED(argument, length) AREA(argument, SIZE_POINTED, length, 0, 0)
#define POINTED_AND(argument, length, more) AREA(argument, SIZE_POINTED, length, 0, more)
#define VECTOR(argument, count) AREA(argument, SIZE_VECTOR, count, 0, 0)
#define MESSAGE(argument) AREA(argument, SIZE_MESSAGE, 0, 0, 0)
#define MESSAGES(argument, count) AREA(argument, SIZE_MESSAGES, count, 0, 0)
#define BITS(argument, count) AREA(argument, SIZE_BITS, count, 0, 0)
#define PAGES(argument, bytes) AREA(argument, SIZE_PAGES, bytes, 0, 0)
#define COMMAND(argument, command) AREA(argument, SIZE_COMMAND, command, 0, 0)

#define PURE EFFECT_PURE
#define GONE EFFECT_IRREVERSIBLE
#define FILE EFFECT_DESCRIPTOR
#define SEEK EFFECT_POSITION
#define OWN EFFECT_OWN

/* clang-format off */
static const uint32_t rules[] = {
    /* files */
    ONE(read, SEEK, COUNT(1, 2)), ONE(pread64, PURE, COUNT(1, 2)), ONE(readv, SEEK, VECTOR(1, 2)),
    ONE(preadv, PURE, VECTOR(1, 2)), ONE(preadv2, SEEK, VECTOR(1, 2)),
    NONE(write, SEEK), NONE(pwrite64, GONE), NONE(writev, SEEK), NONE(pwritev, GONE), NONE(pwritev2, GONE),
    NONE(lseek, SEEK), NONE(open, FILE), NONE(openat, FILE), NONE(openat2, FILE), NONE(creat, FILE),
    NONE(close, GONE), NONE(close_range, GONE), NONE(dup, FILE), NONE(dup2, GONE), NONE(dup3, GONE),
    ONE(stat, PURE, FIXED(1, 144)), ONE(fstat, PURE, FIXED(1, 144)), ONE(lstat, PURE, FIXED(1, 144)),
    ONE(newfstatat, PURE, FIXED(2, 144)), ONE(statx, PURE, FIXED(4, 256)), ONE(statfs, PURE, FIXED(1, 120)),
    ONE(fstatfs, PURE, FIXED(1, 120)), ONE(getdents, SEEK, COUNT(1, 2)), ONE(getdents64, SEEK, COUNT(1, 2)),
    ONE(readlink, PURE, COUNT(1, 2)), ONE(readlinkat, PURE, COUNT(2, 3)), ONE(getcwd, PURE, COUNT(0, 1)),
    NONE(access, PURE), NONE(faccessat, PURE), NONE(faccessat2, PURE), NONE(chdir, GONE), NONE(fchdir, GONE),
    NONE(rename, GONE), NONE(renameat, GONE), NONE(renameat2, GONE), NONE(mkdir, GONE), NONE(mkdirat, GONE),
    NONE(rmdir, GONE), NONE(unlink, GONE), NONE(unlinkat, GONE), NONE(symlink, GONE), NONE(symlinkat, GONE),
    NONE(link, GONE), NONE(linkat, GONE), NONE(chmod, GONE), NONE(fchmod, GONE), NONE(fchmodat, GONE),
    NONE(chown, GONE), NONE(fchown, GONE), NONE(lchown, GONE), NONE(fchownat, GONE), NONE(umask, GONE),
    NONE(truncate, GONE), NONE(ftruncate, GONE), NONE(fallocate, GONE), NONE(fsync, GONE), NONE(fdatasync, GONE),
    NONE(sync, GONE), NONE(syncfs, GONE), NONE(sync_file_range, GONE), NONE(msync, GONE), NONE(flock, GONE),
    NONE(utime, GONE), NONE(utimes, GONE), NONE(futimesat, GONE), NONE(utimensat, GONE), NONE(mknod, GONE),
    NONE(mknodat, GONE), NONE(fadvise64, PURE), NONE(readahead, PURE), NONE(chroot, GONE), NONE(mount, GONE),
    NONE(umount2, GONE), ONE(fcntl, GONE, COMMAND(2, 1)), ONE(ioctl, GONE, COMMAND(2, 1)),
    ONE(sendfile, GONE, FIXED(2, 8)), TWO(copy_file_range, GONE, FIXED(1, 8), FIXED(3, 8)),
    TWO(splice, GONE, FIXED(1, 8), FIXED(3, 8)), NONE(tee, GONE), ONE(vmsplice, GONE, VECTOR(1, 2)),
    ONE(getxattr, PURE, COUNT(2, 3)), ONE(lgetxattr, PURE, COUNT(2, 3)), ONE(fgetxattr, PURE, COUNT(2, 3)),
    ONE(listxattr, PURE, COUNT(1, 2)), ONE(llistxattr, PURE, COUNT(1, 2)), ONE(flistxattr, PURE, COUNT(1, 2)),
    NONE(setxattr, GONE), NONE(lsetxattr, GONE), NONE(fsetxattr, GONE), NONE(removexattr, GONE),
    NONE(lremovexattr, GONE), NONE(fremovexattr, GONE), ONE(pipe, GONE, FIXED(0, 8)), ONE(pipe2, GONE, FIXED(0, 8)),
    NONE(eventfd, FILE), NONE(eventfd2, FILE), NONE(memfd_create, FILE), NONE(inotify_init, FILE),
    NONE(inotify_init1, FILE), NONE(inotify_add_watch, GONE), NONE(inotify_rm_watch, GONE), NONE(timerfd_create, FILE),
    ONE(timerfd_settime, GONE, FIXED(3, 32)), ONE(timerfd_gettime, PURE, FIXED(1, 32)), NONE(signalfd, GONE),
    NONE(signalfd4, GONE), NONE(pidfd_open, FILE), NONE(pidfd_send_signal, GONE),
    NONE(pidfd_getfd, FILE), NONE(memfd_secret, FILE), NONE(perf_event_open, FILE), NONE(fanotify_init, FILE),
    NONE(fanotify_mark, GONE), NONE(open_by_handle_at, FILE),
    TWO(name_to_handle_at, PURE, POINTED_AND(2, 2, 8), FIXED(3, 4)), ONE(ustat, PURE, FIXED(1, 32)),
    NONE(pivot_root, GONE), NONE(open_tree, FILE), NONE(move_mount, GONE), NONE(fsopen, FILE), NONE(fsconfig, GONE),
    NONE(fsmount, FILE), NONE(fspick, FILE), NONE(mount_setattr, GONE),
    /* waiting */
    ONE(poll, PURE, ARRAY(0, 1, 8)), TWO(ppoll, PURE, ARRAY(0, 1, 8), FIXED(2, 16)),
    FOUR(select, PURE, BITS(1, 0), BITS(2, 0), BITS(3, 0), FIXED(4, 16)),
    FOUR(pselect6, PURE, BITS(1, 0), BITS(2, 0), BITS(3, 0), FIXED(4, 16)),
    NONE(epoll_create, FILE), NONE(epoll_create1, FILE), NONE(epoll_ctl, GONE), ONE(epoll_wait, PURE, ARRAY(1, 2, 12)),
    ONE(epoll_pwait, PURE, ARRAY(1, 2, 12)), ONE(epoll_pwait2, PURE, ARRAY(1, 2, 12)),
    TWO(futex, OWN, COMMAND(0, 1), COMMAND(4, 1)), NONE(futex_waitv, GONE), ONE(nanosleep, PURE, FIXED(1, 16)),
    ONE(clock_nanosleep, PURE, FIXED(3, 16)), NONE(pause, PURE), NONE(sched_yield, PURE),
    TWO(wait4, GONE, FIXED(1, 4), FIXED(3, 144)), TWO(waitid, GONE, FIXED(2, 128), FIXED(4, 144)),
    /* sockets */
    NONE(socket, FILE), ONE(socketpair, GONE, FIXED(3, 8)), NONE(connect, GONE), NONE(bind, GONE), NONE(listen, GONE),
    TWO(accept, FILE, POINTED(1, 2), FIXED(2, 4)), TWO(accept4, FILE, POINTED(1, 2), FIXED(2, 4)),
    TWO(getsockname, PURE, POINTED(1, 2), FIXED(2, 4)), TWO(getpeername, PURE, POINTED(1, 2), FIXED(2, 4)),
    NONE(sendto, GONE), NONE(sendmsg, GONE), ONE(sendmmsg, GONE, ARRAY(1, 2, 64)), NONE(shutdown, GONE),
    THREE(recvfrom, GONE, COUNT(1, 2), POINTED(4, 5), FIXED(5, 4)), ONE(recvmsg, GONE, MESSAGE(1)),
    TWO(recvmmsg, GONE, MESSAGES(1, 2), FIXED(4, 16)), NONE(setsockopt, GONE), TWO(getsockopt, PURE, POINTED(3, 4),
    FIXED(4, 4)),
    /* time */
    ONE(clock_gettime, PURE, FIXED(1, 16)), ONE(clock_getres, PURE, FIXED(1, 16)), NONE(clock_settime, GONE),
    TWO(gettimeofday, PURE, FIXED(0, 16), FIXED(1, 8)), ONE(time, PURE, FIXED(0, 8)), ONE(times, PURE, FIXED(0, 32)),
    NONE(alarm, GONE), ONE(getitimer, PURE, FIXED(1, 32)), ONE(setitimer, GONE, FIXED(2, 32)),
    ONE(timer_create, GONE, FIXED(2, 4)), ONE(timer_settime, GONE, FIXED(3, 32)),
    ONE(timer_gettime, PURE, FIXED(1, 32)),
    NONE(timer_getoverrun, PURE), NONE(timer_delete, GONE), ONE(adjtimex, GONE, FIXED(0, 208)),
    ONE(clock_adjtime, GONE, FIXED(1, 208)), NONE(settimeofday, GONE),
    /* who and how much */
    NONE(getpid, PURE), NONE(gettid, PURE), NONE(getppid, PURE), NONE(getuid, PURE), NONE(geteuid, PURE),
    NONE(getgid, PURE), NONE(getegid, PURE), NONE(getpgid, PURE), NONE(getpgrp, PURE), NONE(getsid, PURE),
    THREE(getresuid, PURE, FIXED(0, 4), FIXED(1, 4), FIXED(2, 4)),
    THREE(getresgid, PURE, FIXED(0, 4), FIXED(1, 4), FIXED(2, 4)), ONE(getgroups, PURE, ARRAY(1, 0, 4)),
    NONE(setuid, GONE), NONE(setgid, GONE), NONE(setreuid, GONE), NONE(setregid, GONE), NONE(setresuid, GONE),
    NONE(setresgid, GONE), NONE(setgroups, GONE), NONE(setfsuid, GONE), NONE(setfsgid, GONE), NONE(setpgid, GONE),
    NONE(setsid, GONE), TWO(capget, PURE, FIXED(0, 4), FIXED(1, 24)), NONE(capset, GONE),
    ONE(uname, PURE, FIXED(0, 390)),
    ONE(sysinfo, PURE, FIXED(0, 112)), ONE(getrusage, PURE, FIXED(1, 144)), ONE(getrlimit, PURE, FIXED(1, 16)),
    NONE(setrlimit, OWN), ONE(prlimit64, OWN, FIXED(3, 16)), NONE(getpriority, PURE), NONE(setpriority, GONE),
    ONE(sched_getaffinity, PURE, COUNT(2, 1)), NONE(sched_setaffinity, GONE), ONE(sched_getattr, PURE, COUNT(1, 2)),
    ONE(sched_setattr, GONE, FIXED(1, 4)), ONE(sched_rr_get_interval, PURE, FIXED(1, 16)),
    ONE(sched_getparam, PURE, FIXED(1, 4)),
    NONE(sched_setparam, GONE), NONE(sched_getscheduler, PURE), NONE(sched_setscheduler, GONE),
    NONE(sched_get_priority_max, PURE), NONE(sched_get_priority_min, PURE), TWO(getcpu, PURE, FIXED(0, 4), FIXED(1, 4)),
    ONE(getrandom, PURE, COUNT(0, 1)), NONE(membarrier, PURE), NONE(set_robust_list, GONE),
    TWO(get_robust_list, PURE, FIXED(1, 8), FIXED(2, 8)), NONE(rseq, GONE),
    NONE(set_tid_address, GONE), TWO(prctl, OWN, COMMAND(1, 0), COMMAND(4, 0)), NONE(seccomp, OWN),
    NONE(personality, GONE),
    NONE(unshare, GONE), NONE(setns, GONE), NONE(landlock_create_ruleset, GONE), NONE(landlock_add_rule, GONE),
    NONE(landlock_restrict_self, GONE), NONE(add_key, GONE), NONE(request_key, GONE), ONE(syslog, GONE, COUNT(1, 2)),
    NONE(acct, GONE), NONE(vhangup, GONE), NONE(setdomainname, GONE), NONE(process_mrelease, GONE),
    NONE(ioprio_get, PURE), NONE(ioprio_set, GONE), NONE(sethostname, GONE), NONE(kcmp, PURE),
    /* memory */
    NONE(madvise, OWN), NONE(mmap, OWN), NONE(munmap, OWN), NONE(mremap, OWN), NONE(brk, OWN), NONE(mprotect, OWN),
    NONE(pkey_mprotect, OWN),
    NONE(mlock, GONE), NONE(mlock2, GONE), NONE(munlock, GONE), NONE(mlockall, GONE), NONE(munlockall, GONE),
    ONE(mincore, PURE, PAGES(2, 1)), NONE(mbind, GONE), NONE(set_mempolicy, GONE), NONE(shmget, GONE),
    ONE(shmctl, GONE, COMMAND(2, 1)),
    NONE(shmdt, OWN), NONE(shmat, OWN), NONE(semget, GONE), NONE(semop, GONE), NONE(semtimedop, GONE),
    ONE(semctl, GONE, COMMAND(3, 2)), NONE(msgget, GONE), NONE(msgsnd, GONE), ONE(msgrcv, GONE, COUNT_AND(1, 2, 8)),
    ONE(msgctl, GONE, COMMAND(2, 1)), NONE(mq_open, FILE), NONE(mq_unlink, GONE), NONE(mq_timedsend, GONE),
    TWO(mq_timedreceive, GONE, COUNT(1, 2), FIXED(3, 4)), NONE(mq_notify, GONE), ONE(mq_getsetattr, GONE, FIXED(2, 64)),
    TWO(get_mempolicy, PURE, FIXED(0, 4), BITS(1, 2)), NONE(migrate_pages, GONE), ONE(move_pages, GONE, ARRAY(4, 1, 4)),
    NONE(set_mempolicy_home_node, GONE), NONE(pkey_alloc, GONE), NONE(pkey_free, GONE),
    ONE(process_vm_readv, PURE, VECTOR(1, 2)),
    /* processes and signals */
    NONE(clone, OWN), NONE(clone3, OWN), NONE(fork, OWN), NONE(vfork, OWN), NONE(execve, OWN), NONE(execveat, OWN),
    NONE(exit, OWN), NONE(exit_group, OWN), NONE(kill, OWN), NONE(tkill, OWN), NONE(tgkill, OWN),
    NONE(rt_sigaction, OWN), NONE(rt_sigprocmask, OWN), NONE(rt_sigreturn, OWN), NONE(sigaltstack, OWN),
    ONE(rt_sigpending, PURE, COUNT(0, 1)), ONE(rt_sigtimedwait, GONE, FIXED(1, 128)), NONE(rt_sigsuspend, PURE),
    NONE(rt_sigqueueinfo, GONE), NONE(rt_tgsigqueueinfo, GONE), NONE(arch_prctl, OWN),
};
/* clang-format on */

const struct syscall_rule *syscall_rule(uint64_t number) {
    const uint32_t *at = rules, *end = rules + sizeof rules / sizeof *rules;
    for (const struct syscall_rule *rule; at < end; at += 1 + rule->outputs) {
        rule = (const struct syscall_rule *)at;
        if (rule->number == number)
            return rule;
    }
    return NULL;
}
