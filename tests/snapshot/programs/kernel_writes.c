/* Every system call that writes to the caller's memory, each in a region that then faults.
 *
 *     kernel_writes           one thread
 *     kernel_writes threads   another thread writes, while the region runs, to all that lies behind the areas which the
 *                             kernel may write
 *     kernel_writes calls     no fault: which calls this system has
 *
 * Afterwards the areas must be as before, and the other thread's bytes as it wrote them.  Prints the calls that failed
 * or wrote nothing, which prove nothing, and those whose bytes are wrong; the last line is their number.  A call is a
 * row of CASES: what it is given before the region begins, and the call; area(i, n) is where it may write n bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { AREAS = 6, AREA_BYTES = 8192, PATTERN = 0xa5, OTHER = 0x5a };
static unsigned char areas[AREAS][AREA_BYTES] __attribute__((aligned(64)));
static unsigned char before[AREAS][AREA_BYTES];
static volatile size_t sizes[AREAS];
static int file, folder, out_file, pair[2], pipe_ends[2], polled, timer_fd, terminal, listener, queue, segment,
    semaphores;
static timer_t timer;
static mqd_t messages;
static pid_t child;
static struct iovec vectors[2];

static void *area(int i, size_t size) {
    sizes[i] = size;
    return areas[i];
}

/* The area holds a value that the call reads first. */
#define GIVEN(i, type, ...) (*(type *)areas[i] = (type)__VA_ARGS__, area(i, sizeof(type)))

struct interface { /* struct ifreq */
    char name[16];
    int index;
    char rest[20];
};
struct handle { /* struct file_handle */
    unsigned size;
    int type;
    char data[120];
};

#define S(name, ...) syscall(SYS_##name, __VA_ARGS__)

static void *vector(void) {
    vectors[0] = (struct iovec){area(0, 50), 50};
    vectors[1] = (struct iovec){area(1, 200), 200};
    return vectors;
}

static void *message(void) {
    struct msghdr *header = (struct msghdr *)areas[2];
    vector();
    *header = (struct msghdr){areas[3], 128, vectors, 2, areas[4], 256, 0};
    area(3, 128);
    area(4, 256);
    return area(2, sizeof *header);
}

static void *messages_of_two(void) {
    struct mmsghdr *headers = (struct mmsghdr *)areas[2];
    vector();
    headers[0].msg_hdr = (struct msghdr){areas[3], 128, &vectors[0], 1, NULL, 0, 0};
    headers[1].msg_hdr = (struct msghdr){NULL, 0, &vectors[1], 1, areas[4], 256, 0};
    area(3, 128);
    area(4, 256);
    return area(2, 2 * sizeof *headers);
}

static void *messages_to_send(void) {
    struct mmsghdr *headers = messages_of_two();
    headers[0].msg_hdr.msg_name = NULL;
    return headers;
}

static void *length(int i, unsigned value) {
    *(unsigned *)areas[i] = value;
    return area(i, sizeof value);
}

static void *bits(int i) {
    *(long *)areas[i] = 1L << pipe_ends[0];
    return area(i, 8);
}

#define SECOND (struct timespec){1, 7}

#define CASES(X)                                                                                                       \
    X(read, 0, S(read, file, area(0, 3000), 3000))                                                                     \
    X(read_pipe, 0, S(read, pipe_ends[0], area(0, 3000), 3000))                                                        \
    X(pread64, 0, S(pread64, file, area(0, 500), 500, 3))                                                              \
    X(readv, (vector()), S(readv, file, vectors, 2))                                                                   \
    X(preadv, (vector()), S(preadv, file, vectors, 2, 5, 0))                                                           \
    X(preadv2, (vector()), S(preadv2, file, vectors, 2, -1L, 0, 0))                                                    \
    X(stat, 0, S(stat, "/", area(0, 144)))                                                                             \
    X(fstat, 0, S(fstat, file, area(0, 144)))                                                                          \
    X(lstat, 0, S(lstat, "/", area(0, 144)))                                                                           \
    X(newfstatat, 0, S(newfstatat, AT_FDCWD, "/", area(0, 144), 0))                                                    \
    X(statx, 0, S(statx, AT_FDCWD, "/", 0, STATX_ALL, area(0, 256)))                                                   \
    X(statfs, 0, S(statfs, "/", area(0, 120)))                                                                         \
    X(fstatfs, 0, S(fstatfs, file, area(0, 120)))                                                                      \
    X(getdents, 0, S(getdents, folder, area(0, 2048), 2048))                                                           \
    X(getdents64, 0, S(getdents64, folder, area(0, 2048), 2048))                                                       \
    X(readlink, 0, S(readlink, "/proc/self/exe", area(0, 300), 300))                                                   \
    X(readlinkat, 0, S(readlinkat, AT_FDCWD, "/proc/self/exe", area(0, 300), 300))                                     \
    X(getcwd, 0, S(getcwd, area(0, 4096), 4096))                                                                       \
    X(fcntl_getlk, (GIVEN(0, struct flock, {F_WRLCK, SEEK_SET, 0, 5, 0})), S(fcntl, out_file, F_GETLK, areas[0]))      \
    X(fcntl_owner, 0, S(fcntl, file, F_GETOWN_EX, area(0, 8)))                                                         \
    X(ioctl_fionread, 0, S(ioctl, pipe_ends[0], FIONREAD, area(0, 4)))                                                 \
    X(ioctl_tcgets, 0, S(ioctl, terminal, TCGETS, area(0, 36)))                                                        \
    X(ioctl_tcgeta, 0, S(ioctl, terminal, TCGETA, area(0, 18)))                                                        \
    X(ioctl_winsize, 0, S(ioctl, terminal, TIOCGWINSZ, area(0, 8)))                                                    \
    X(ioctl_getd, 0, S(ioctl, terminal, TIOCGETD, area(0, 4)))                                                         \
    X(ioctl_ptn, 0, S(ioctl, terminal, TIOCGPTN, area(0, 4)))                                                          \
    X(ioctl_flags, 0, S(ioctl, pair[0], FIOGETOWN, area(0, 4)))                                                        \
    X(ioctl_ifname, (GIVEN(0, struct interface, {"", 1, ""})), S(ioctl, listener, 0x8910, areas[0]))                   \
    X(sendfile, (GIVEN(0, long, 3)), S(sendfile, out_file, file, areas[0], 100))                                       \
    X(copy_file_range, (GIVEN(0, long, 3), GIVEN(1, long, 0)),                                                         \
      S(copy_file_range, file, areas[0], out_file, areas[1], 100, 0))                                                  \
    X(splice, (GIVEN(0, long, 3)), S(splice, file, areas[0], pipe_ends[1], NULL, 10, 0))                               \
    X(vmsplice, (vector()), S(vmsplice, pipe_ends[0], vectors, 2, 0))                                                  \
    X(fgetxattr, 0, S(fgetxattr, out_file, "user.test", area(0, 100), 100))                                            \
    X(flistxattr, 0, S(flistxattr, out_file, area(0, 100), 100))                                                       \
    X(pipe, 0, S(pipe, area(0, 8)))                                                                                    \
    X(pipe2, 0, S(pipe2, area(0, 8), O_CLOEXEC))                                                                       \
    X(timerfd_settime, 0, S(timerfd_settime, timer_fd, 0, &(struct itimerspec){{0}}, area(0, 32)))                     \
    X(timerfd_gettime, 0, S(timerfd_gettime, timer_fd, area(0, 32)))                                                   \
    X(poll, (GIVEN(0, struct pollfd, {pipe_ends[0], POLLIN, 0})), S(poll, areas[0], 1, 1000))                          \
    X(ppoll, (GIVEN(0, struct pollfd, {pipe_ends[0], POLLIN, 0}), GIVEN(1, struct timespec, SECOND)),                  \
      S(ppoll, areas[0], 1, areas[1], NULL, 8))                                                                        \
    X(select, (GIVEN(3, struct timeval, {1, 7}), bits(0), bits(1), bits(2)),                                           \
      S(select, 64, areas[0], areas[1], areas[2], areas[3]))                                                           \
    X(pselect6, (GIVEN(3, struct timespec, SECOND), bits(0), bits(1), bits(2)),                                        \
      S(pselect6, 64, areas[0], areas[1], areas[2], areas[3], NULL))                                                   \
    X(epoll_wait, 0, S(epoll_wait, polled, area(0, 48), 4, 1000))                                                      \
    X(epoll_pwait, 0, S(epoll_pwait, polled, area(0, 48), 4, 1000, NULL, 8))                                           \
    X(epoll_pwait2, 0, S(epoll_pwait2, polled, area(0, 48), 4, NULL, NULL, 8))                                         \
    X(futex_wake_op, (GIVEN(0, int, 3)), S(futex, areas[1], 5, 1, 1, areas[0], 0x00002000) + 1)                        \
    X(futex_lock_pi, (GIVEN(0, int, 0)), S(futex, areas[0], 6, 0, NULL, NULL, 0))                                      \
    X(wait4, 0, S(wait4, child, area(0, 4), 0, area(1, 144)))                                                          \
    X(waitid, 0, S(waitid, P_PID, child, area(0, 128), WEXITED, area(1, 144)) + 1)                                     \
    X(socketpair, 0, S(socketpair, AF_UNIX, SOCK_STREAM, 0, area(0, 8)))                                               \
    X(accept, (length(1, 16)), S(accept, listener, area(0, 16), areas[1]))                                             \
    X(accept4, (length(1, 16)), S(accept4, listener, area(0, 16), areas[1], 0))                                        \
    X(getsockname, (length(1, 64)), S(getsockname, listener, area(0, 64), areas[1]))                                   \
    X(getpeername, (length(1, 64)), S(getpeername, queue, area(0, 64), areas[1]))                                      \
    X(recvfrom, (length(2, 128)), S(recvfrom, pair[1], area(0, 100), 100, 0, area(1, 128), areas[2]))                  \
    X(recvmsg, (message()), S(recvmsg, pair[1], areas[2], 0))                                                          \
    X(recvmmsg, (GIVEN(5, struct timespec, SECOND), messages_of_two()),                                                \
      S(recvmmsg, pair[1], areas[2], 2, 0, areas[5]))                                                                  \
    X(sendmmsg, (messages_to_send()), S(sendmmsg, pair[0], areas[2], 1, 0))                                            \
    X(getsockopt, (length(1, 4)), S(getsockopt, pair[0], SOL_SOCKET, SO_RCVBUF, area(0, 4), areas[1]))                 \
    X(clock_gettime, 0, S(clock_gettime, CLOCK_MONOTONIC, area(0, 16)))                                                \
    X(clock_gettime_vdso, 0, clock_gettime(CLOCK_REALTIME, area(0, 16)))                                               \
    X(clock_getres, 0, S(clock_getres, CLOCK_MONOTONIC, area(0, 16)))                                                  \
    X(clock_adjtime, (GIVEN(0, struct timex, {0})), S(clock_adjtime, CLOCK_REALTIME, areas[0]))                        \
    X(adjtimex, (GIVEN(0, struct timex, {0})), S(adjtimex, areas[0]))                                                  \
    X(gettimeofday, 0, S(gettimeofday, area(0, 16), area(1, 8)))                                                       \
    X(time, 0, S(time, area(0, 8)))                                                                                    \
    X(times, 0, S(times, area(0, 32)))                                                                                 \
    X(getitimer, 0, S(getitimer, ITIMER_VIRTUAL, area(0, 32)))                                                         \
    X(setitimer, 0, S(setitimer, ITIMER_VIRTUAL, &(struct itimerval){{0}}, area(0, 32)))                               \
    X(timer_create, 0, S(timer_create, CLOCK_REALTIME, NULL, area(0, 4)))                                              \
    X(timer_settime, 0, S(timer_settime, (int)(long)timer, 0, &(struct itimerspec){{0}}, area(0, 32)))                 \
    X(timer_gettime, 0, S(timer_gettime, (int)(long)timer, area(0, 32)))                                               \
    X(getresuid, 0, S(getresuid, area(0, 4), area(1, 4), area(2, 4)))                                                  \
    X(getresgid, 0, S(getresgid, area(0, 4), area(1, 4), area(2, 4)))                                                  \
    X(capget, (GIVEN(0, struct __user_cap_header_struct, {0x12345678, 0})), S(capget, areas[0], NULL))                 \
    X(capget_data, 0, S(capget, &(struct __user_cap_header_struct){0x20080522, 0}, area(1, 24)))                       \
    X(uname, 0, S(uname, area(0, 390)))                                                                                \
    X(sysinfo, 0, S(sysinfo, area(0, 112)))                                                                            \
    X(getrusage, 0, S(getrusage, RUSAGE_SELF, area(0, 144)))                                                           \
    X(getrlimit, 0, S(getrlimit, RLIMIT_STACK, area(0, 16)))                                                           \
    X(prlimit64, 0, S(prlimit64, 0, RLIMIT_STACK, NULL, area(0, 16)))                                                  \
    X(sched_getaffinity, 0, S(sched_getaffinity, 0, 1024, area(0, 1024)))                                              \
    X(sched_getparam, 0, S(sched_getparam, 0, area(0, 4)))                                                             \
    X(sched_getattr, 0, S(sched_getattr, 0, area(0, 56), 56, 0))                                                       \
    X(sched_rr_get_interval, 0, S(sched_rr_get_interval, 0, area(0, 16)))                                              \
    X(getcpu, 0, S(getcpu, area(0, 4), area(1, 4), NULL))                                                              \
    X(getrandom, 0, S(getrandom, area(0, 200), 200, 0))                                                                \
    X(get_robust_list, 0, S(get_robust_list, 0, area(0, 8), area(1, 8)))                                               \
    X(get_mempolicy, 0, S(get_mempolicy, area(0, 4), area(1, 128), 1024, NULL, 0))                                     \
    X(prctl_name, 0, S(prctl, PR_GET_NAME, area(0, 16)))                                                               \
    X(prctl_pdeathsig, 0, S(prctl, PR_GET_PDEATHSIG, area(0, 4)))                                                      \
    X(prctl_tid_address, 0, S(prctl, PR_GET_TID_ADDRESS, area(0, 8)))                                                  \
    X(mincore, 0, S(mincore, (long)areas & -4096, 3 * 4096, area(0, 3)))                                               \
    X(process_vm_readv, (vector()),                                                                                    \
      S(process_vm_readv, getpid(), vectors, 2, &(struct iovec){(void *)cases, 250}, 1, 0))                            \
    X(msgrcv, 0, S(msgrcv, queue_of_messages(), area(0, 208), 200, 0, IPC_NOWAIT))                                     \
    X(msgctl, 0, S(msgctl, queue_of_messages(), IPC_STAT, area(0, 120)))                                               \
    X(shmctl, 0, S(shmctl, segment, IPC_STAT, area(0, 112)))                                                           \
    X(semctl, 0, S(semctl, semaphores, 0, IPC_STAT, area(0, 104)))                                                     \
    X(mq_timedreceive, 0, S(mq_timedreceive, messages, area(0, 128), 128, area(1, 4), NULL))                           \
    X(mq_getsetattr, 0, S(mq_getsetattr, messages, NULL, area(0, 64)))                                                 \
    X(name_to_handle_at, (GIVEN(0, struct handle, {120, 0, {0}})),                                                     \
      S(name_to_handle_at, AT_FDCWD, "/", areas[0], area(1, 4), 0))                                                    \
    X(rt_sigaction, 0, S(rt_sigaction, SIGUSR1, NULL, area(0, 32), 8))                                                 \
    X(rt_sigaction_segv, 0, S(rt_sigaction, SIGSEGV, NULL, area(0, 32), 8))                                            \
    X(rt_sigprocmask, 0, S(rt_sigprocmask, SIG_BLOCK, NULL, area(0, 8), 8))                                            \
    X(rt_sigprocmask_set, 0, S(rt_sigprocmask, SIG_BLOCK, &(long){1 << 11}, area(0, 8), 8))                            \
    X(rt_sigpending, 0, S(rt_sigpending, area(0, 8), 8))                                                               \
    X(rt_sigtimedwait, 0, S(rt_sigtimedwait, &(long){1 << 9}, area(0, 128), NULL, 8))                                  \
    X(sigaltstack, 0, S(sigaltstack, NULL, area(0, 24)))                                                               \
    X(fork, 0, forked())

static int queue_number;
static long queue_of_messages(void) {
    return queue_number;
}

static long forked(void) { /* CLONE_PARENT_SETTID writes in the parent */
    long id = syscall(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, NULL, area(0, 4), NULL, NULL);
    if (!id)
        _exit(0);
    syscall(SYS_wait4, id, NULL, 0, NULL);
    return id;
}

struct kernel_write {
    const char *name;
    void (*give)(void); /* before the region: what the call reads and then overwrites */
    long (*call)(void);
};
#define DEFINE(name, given, call)                                                                                      \
    static void give_##name(void) {                                                                                    \
        (void)(given);                                                                                                 \
    }                                                                                                                  \
    static long call_##name(void) {                                                                                    \
        return call;                                                                                                   \
    }
static const struct kernel_write cases[];
CASES(DEFINE)
#define LIST(name, given, call) {#name, give_##name, call_##name},
static const struct kernel_write cases[] = {CASES(LIST)};
enum { COUNT = sizeof cases / sizeof *cases };

/* ---- the other thread ---- */

static bool threads, faults = true;
static int question[2], answer[2]; /* pipes: what the region stores to ask would be undone */
static size_t theirs[AREAS];

static void *neighbour(void *unused) {
    char any;
    while (read(question[0], &any, 1) == 1) {
        for (int i = 0; i < AREAS; i++) {
            theirs[i] = sizes[i];
            memset(areas[i] + theirs[i], OTHER, AREA_BYTES - theirs[i]);
        }
        write(answer[1], &any, 1);
    }
    return unused;
}

/* ---- the region ---- */

long __attribute__((noinline)) region(int which) {
    long result = cases[which].call();
    if (result < 0)
        return -2;
    if (!memcmp(areas, before, sizeof areas))
        return -3;
    if (threads && (syscall(SYS_write, question[1], "", 1) != 1 || syscall(SYS_read, answer[0], &(char){0}, 1) != 1))
        return -2;
    if (faults)
        *(volatile int *)NULL = 1;
    return -1;
}

static void prepare(int which) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    file = open("/proc/self/exe", O_RDONLY);
    folder = open("/etc", O_RDONLY | O_DIRECTORY);
    out_file = open("out", O_RDWR | O_CREAT, 0600);
    fsetxattr(out_file, "user.test", "value", 5, 0);
    pipe(pipe_ends);
    write(pipe_ends[1], "twenty bytes in here", 20);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    write(pair[0], "one datagram", 12);
    write(pair[0], "another datagram", 16);
    polled = epoll_create1(0);
    epoll_ctl(polled, EPOLL_CTL_ADD, pipe_ends[0], &(struct epoll_event){EPOLLIN, {0}});
    timer_fd = timerfd_create(CLOCK_MONOTONIC, 0);
    timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_notify = SIGEV_NONE}, &timer);
    terminal = posix_openpt(O_RDWR | O_NOCTTY);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 4);
    getsockname(listener, (struct sockaddr *)&address, &size);
    queue = socket(AF_INET, SOCK_STREAM, 0);
    connect(queue, (struct sockaddr *)&address, sizeof address);
    segment = shmget(IPC_PRIVATE, 4096, 0600);
    semaphores = semget(IPC_PRIVATE, 2, 0600);
    queue_number = msgget(IPC_PRIVATE, 0600);
    msgsnd(queue_number, &(struct {
               long type;
               char text[24];
           }){1, "a message"},
           24, 0);
    messages = mq_open("/stemrw-snapshot", O_RDWR | O_CREAT | O_NONBLOCK, 0600,
                       &(struct mq_attr){.mq_maxmsg = 2, .mq_msgsize = 128});
    mq_send(messages, "posix message", 13, 7);
    raise(SIGUSR1); /* blocked: for sigtimedwait */
    child = fork();
    if (!child)
        _exit(3);
    waitid(P_PID, (id_t)child, &(siginfo_t){0}, WEXITED | WNOWAIT);
    memset((void *)sizes, 0, sizeof sizes);
    memset(areas, PATTERN, sizeof areas);
    cases[which].give();
    memcpy(before, areas, sizeof areas);
}

static void clean_up(void) {
    const int open_ones[] = {file,         folder, out_file, pair[0],  pair[1],  pipe_ends[0],
                             pipe_ends[1], polled, timer_fd, terminal, listener, queue};
    for (unsigned i = 0; i < sizeof open_ones / sizeof *open_ones; i++)
        close(open_ones[i]);
    timer_delete(timer);
    shmctl(segment, IPC_RMID, NULL);
    semctl(semaphores, 0, IPC_RMID);
    msgctl(queue_number, IPC_RMID, NULL);
    mq_close(messages);
    mq_unlink("/stemrw-snapshot");
    waitpid(child, NULL, 0);
}

/* What is not as it should be after the rollback: bytes of the areas, or the neighbour's behind them. */
static int wrong_bytes(void) {
    int wrong = 0;
    for (int i = 0; i < AREAS; i++)
        for (size_t at = 0; at < AREA_BYTES; at++)
            wrong += areas[i][at] != (threads && at >= theirs[i] ? OTHER : before[i][at]);
    return wrong;
}

int main(int argc, char **argv) {
    pthread_t other;
    int failures = 0;
    threads = argc > 1 && !strcmp(argv[1], "threads");
    faults = argc == 1 || threads;
    alarm(60);
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigprocmask(SIG_BLOCK, &(sigset_t){{1 << 9}}, NULL); /* SIGUSR1 */
    if (threads && !pipe(question) && !pipe(answer))
        pthread_create(&other, NULL, neighbour, NULL);
    for (int i = 0; i < COUNT; i++) {
        if (threads && !strncmp(cases[i].name, "futex_", 6))
            continue; /* the kernel changes a word that others may have seen: that ends the region */
        prepare(i);
        long result = region(i);
        int wrong = result == -1 && faults ? wrong_bytes() : 0;
        if (result == -2)
            printf("%s failed: %m\n", cases[i].name);
        else if (result == -3)
            printf("%s wrote nothing\n", cases[i].name);
        else if (wrong)
            printf("%s: %d bytes are wrong\n", cases[i].name, wrong);
        failures += result != -1 || wrong;
        clean_up();
    }
    if (threads) {
        close(question[1]);
        pthread_join(other, NULL);
    }
    printf("%d of %d\n", failures, COUNT);
    return failures != 0;
}
