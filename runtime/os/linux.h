/* The only place that makes system calls on the runtime's own behalf.
 *
 * Results are the kernel's: a value, or -errno.  Nothing here touches the program's errno.
 */
#ifndef STEMRW_OS_LINUX_H
#define STEMRW_OS_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

long os_call(long number, long a, long b, long c, long d, long e, long f);

#define OS_PAGE 4096ul

enum os_protection { OS_NONE = 0, OS_READ = 1, OS_WRITE = 2, OS_EXECUTE = 4 };

/* Reserve or allocate anonymous private memory that is not counted against overcommit; NULL when there is none.
 * `near` is a hint: 0 for anywhere; with `exact` the mapping is at `near` or not at all. */
void *os_map(uintptr_t near, size_t size, int protection, bool exact);

/* Whether what is left could hold three more of it: of little, the program needs most. */
bool os_room(size_t size, int protection);
void os_unmap(void *start, size_t size);
bool os_protect(void *start, size_t size, int protection);
bool os_wipe_on_fork(void *start, size_t size); /* a forked child finds zeroes there; one that shares memory does not */
void os_discard(void *start, size_t size);      /* give the pages back; they read as zero afterwards */

int os_open_read(const char *path);
int os_open_append(const char *path); /* creates; close-on-exec; never descriptor 0, 1 or 2 */
/* The same, for a name that others can foresee in a folder where they may write: -1 unless it is then a regular file of
 * this user's that has no other name.  With `empty` it is emptied. */
int os_open_own(const char *path, bool empty);
long os_read(int fd, void *buffer, size_t size);
/* Of a regular file; ~0 of anything else. */
uint64_t os_file_size(int fd);
long os_read_at(int fd, void *buffer, size_t size, uint64_t offset);
long os_write(int fd, const void *buffer, size_t size);
void os_close(int fd);
long os_getcwd(char *buffer, size_t size);

int os_getpid(void);
int os_gettid(void);
int os_parent(void);
bool os_same_program(int process); /* whether that runs the file that we run */
bool os_thread_alive(int tid);     /* of this process */
bool os_traced(void);              /* by a debugger or another tracer; false where /proc does not say */
void os_yield(void);
void os_realtime(int64_t *seconds, int64_t *nanoseconds);
uint64_t os_cpu_milliseconds(void); /* of this thread, and one; 0: not to be had */

enum os_error { OS_EBADF = 9, OS_EEXIST = 17, OS_EINVAL = 22, OS_ENOSYS = 38 };

/* Signals, in the kernel's own layout. */
enum os_signal {
    OS_SIGILL = 4,
    OS_SIGTRAP = 5,
    OS_SIGABRT = 6,
    OS_SIGBUS = 7,
    OS_SIGFPE = 8,
    OS_SIGSEGV = 11,
    OS_SIGSYS = 31,
};

enum { OS_SA_SIGINFO = 4, OS_SA_ONSTACK = 0x08000000, OS_SA_RESTORER = 0x04000000, OS_SA_RESETHAND = 0x80000000 };
enum { OS_SIG_DFL = 0, OS_SIG_IGN = 1 };
enum { OS_SIG_BLOCK = 0, OS_SIG_UNBLOCK = 1, OS_SIG_SETMASK = 2 };

struct os_sigaction {
    uint64_t handler;
    uint64_t flags;
    uint64_t restorer;
    uint64_t mask;
};

struct os_stack {
    uint64_t start;
    int32_t flags; /* 2: disabled, 1: in use */
    int32_t padding;
    uint64_t size;
};
enum { OS_SS_ONSTACK = 1, OS_SS_DISABLE = 2 };
#define OS_SS_AUTODISARM (1u << 31)

struct os_siginfo {
    int32_t signal, error, code, padding;
    uint64_t address; /* for faults; pid/uid for kill */
    uint8_t rest[104];
};

struct os_context { /* what SA_SIGINFO handlers get as third argument (struct ucontext, its beginning) */
    uint64_t flags, link;
    struct os_stack stack;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, trap, oldmask, cr2;
    uint64_t fpstate, reserved[8];
    uint64_t mask; /* of signals, while the handler has not returned */
};

long os_sigaction(int signal, const struct os_sigaction *new_action, struct os_sigaction *old_action);
long os_sigmask(int how, const uint64_t *set, uint64_t *old);
long os_sigaltstack(const struct os_stack *new_stack, struct os_stack *old_stack);
long os_raise(int signal); /* to the calling thread */

#endif
