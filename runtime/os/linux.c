/* System calls of the runtime, x86-64 Linux numbers (arch/x86_64/unistd.h). */
#include "os/linux.h"

#include "arch/x86_64/unistd.h"

enum {
    PROT_MASK = 7,
    MAP_PRIVATE = 0x02,
    MAP_ANONYMOUS = 0x20,
    MAP_NORESERVE = 0x4000,
    MAP_FIXED_NOREPLACE = 0x100000,
    MADV_DONTNEED = 4,
    MADV_WIPEONFORK = 18,
    O_WRONLY = 1,
    O_CREAT = 0100,
    O_APPEND = 02000,
    O_NONBLOCK = 04000,
    O_NOFOLLOW = 0400000,
    O_CLOEXEC = 02000000,
    F_DUPFD_CLOEXEC = 1030,
    AT_FDCWD = -100,
    S_IFMT = 0170000,
    S_IFREG = 0100000,
    SIGSET_BYTES = 8,
};

long os_call(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define CALL0(n) os_call(n, 0, 0, 0, 0, 0, 0)
#define CALL1(n, a) os_call(n, (long)(a), 0, 0, 0, 0, 0)
#define CALL2(n, a, b) os_call(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define CALL3(n, a, b, c) os_call(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define CALL4(n, a, b, c, d) os_call(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

void *os_map(uintptr_t near, size_t size, int protection, bool exact) {
    long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (exact ? MAP_FIXED_NOREPLACE : 0);
    long result = os_call(NR_mmap, (long)near, (long)size, protection & PROT_MASK, flags, -1, 0);
    if (result < 0 && result > -4096)
        return NULL;
    if (exact && (uintptr_t)result != near) { /* a kernel that does not know MAP_FIXED_NOREPLACE took it as a hint */
        os_unmap((void *)result, size);
        return NULL;
    }
    return (void *)result;
}

bool os_room(size_t size, int protection) {
    void *start = os_map(0, size * 4, protection, false);
    if (start)
        os_unmap(start, size * 4);
    return start;
}

void os_unmap(void *start, size_t size) {
    CALL2(NR_munmap, start, size);
}

bool os_protect(void *start, size_t size, int protection) {
    return CALL3(NR_mprotect, start, size, protection) == 0;
}

bool os_wipe_on_fork(void *start, size_t size) {
    return CALL3(NR_madvise, start, size, MADV_WIPEONFORK) == 0;
}

void os_discard(void *start, size_t size) {
    CALL3(NR_madvise, start, size, MADV_DONTNEED);
}

int os_open_read(const char *path) {
    return (int)CALL4(NR_openat, AT_FDCWD, path, O_CLOEXEC, 0);
}

static int open_append(const char *path, int flags, int mode) {
    int fd = (int)CALL4(NR_openat, AT_FDCWD, path, flags | O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode);
    if (fd < 0 || fd > 2)
        return fd;
    int high = (int)CALL3(NR_fcntl, fd, F_DUPFD_CLOEXEC, 3);
    os_close(fd);
    return high;
}

int os_open_append(const char *path) {
    return open_append(path, 0, 0666);
}

struct stat { /* of the kernel */
    uint64_t device, inode, links;
    uint32_t mode, user, group, padding;
    uint64_t special, size, rest[12];
};

uint64_t os_file_size(int fd) {
    struct stat found;
    return CALL2(NR_fstat, fd, &found) == 0 && (found.mode & S_IFMT) == S_IFREG ? found.size : ~0ull;
}

int os_open_own(const char *path, bool empty) {
    int fd = open_append(path, O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return -1;
    struct stat found;
    if (CALL2(NR_fstat, fd, &found) == 0 && (found.mode & S_IFMT) == S_IFREG && found.links == 1 &&
        found.user == (uint32_t)CALL0(NR_geteuid) && (!empty || CALL2(NR_ftruncate, fd, 0) == 0))
        return fd;
    os_close(fd);
    return -1;
}

long os_read(int fd, void *buffer, size_t size) {
    return CALL3(NR_read, fd, buffer, size);
}
long os_read_at(int fd, void *buffer, size_t size, uint64_t offset) {
    return CALL4(NR_pread64, fd, buffer, size, offset);
}
long os_write(int fd, const void *buffer, size_t size) {
    return CALL3(NR_write, fd, buffer, size);
}
void os_close(int fd) {
    CALL1(NR_close, fd);
}
long os_getcwd(char *buffer, size_t size) {
    return CALL2(NR_getcwd, buffer, size);
}

int os_getpid(void) {
    return (int)CALL0(NR_getpid);
}
int os_parent(void) {
    return (int)os_call(NR_getppid, 0, 0, 0, 0, 0, 0);
}

bool os_same_program(int process) {
    enum { DEVICE, INODE, WORDS = 18 };     /* of struct stat */
    char link[] = "/proc//////////////exe"; /* the number goes where some of the slashes are */
    uint64_t own[WORDS], other[WORDS];
    for (unsigned at = sizeof link - sizeof "/exe"; process > 0; process /= 10)
        link[--at] = (char)('0' + process % 10);
    return !os_call(NR_stat, (long)"/proc/self/exe", (long)own, 0, 0, 0, 0) &&
           !os_call(NR_stat, (long)link, (long)other, 0, 0, 0, 0) && own[DEVICE] == other[DEVICE] &&
           own[INODE] == other[INODE];
}

int os_gettid(void) {
    return (int)CALL0(NR_gettid);
}
bool os_thread_alive(int tid) {
    return CALL3(NR_tgkill, os_getpid(), tid, 0) == 0;
}
bool os_traced(void) {
    static const char wanted[] = "\nTracerPid:\t";
    char text[1024];
    int fd = os_open_read("/proc/self/status");
    long count = fd < 0 ? 0 : os_read(fd, text, sizeof text);
    if (fd >= 0)
        os_close(fd);
    unsigned matched = 0;
    for (long i = 0; i < count; i++) {
        if (!wanted[matched])
            return text[i] != '0';
        matched = text[i] == wanted[matched] ? matched + 1 : text[i] == wanted[0];
    }
    return false;
}

void os_yield(void) {
    CALL0(NR_sched_yield);
}

void os_realtime(int64_t *seconds, int64_t *nanoseconds) {
    int64_t time[2] = {0, 0};
    CALL2(NR_clock_gettime, 0, time);
    *seconds = time[0];
    *nanoseconds = time[1];
}

uint64_t os_cpu_milliseconds(void) {
    enum { CLOCK_THREAD_CPUTIME_ID = 3 };
    int64_t time[2] = {0, 0};
    return CALL2(NR_clock_gettime, CLOCK_THREAD_CPUTIME_ID, time) ? 0
                                                                  : (uint64_t)(time[0] * 1000 + time[1] / 1000000 + 1);
}

long os_sigaction(int signal, const struct os_sigaction *new_action, struct os_sigaction *old_action) {
    return CALL4(NR_rt_sigaction, signal, new_action, old_action, SIGSET_BYTES);
}

long os_sigmask(int how, const uint64_t *set, uint64_t *old) {
    return CALL4(NR_rt_sigprocmask, how, set, old, SIGSET_BYTES);
}

long os_sigaltstack(const struct os_stack *new_stack, struct os_stack *old_stack) {
    return CALL2(NR_sigaltstack, new_stack, old_stack);
}

long os_raise(int signal) {
    return CALL3(NR_tgkill, os_getpid(), os_gettid(), signal);
}
