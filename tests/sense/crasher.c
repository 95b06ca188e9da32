/* Dies, or does not, in the way its first argument names. */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT __attribute__((noinline, used))

volatile int sink;
volatile uintptr_t zero;
static sigjmp_buf back;
static char *self;

KEPT void fault_here(volatile int *where) {
    *where = 1;
    sink++;
}

KEPT void caller_of_fault(void) {
    fault_here((int *)(zero + 8));
    sink++;
}

KEPT int divide_here(int by) { return 7 / by + sink; }

KEPT void null_call_here(void) {
    ((void (*)(void))zero)();
    sink++;
}

KEPT void wild_call_here(void) {
    ((void (*)(void))(zero + 0x123456000))();
    sink++;
}

KEPT int recurse_here(int n) {
    volatile char frame[100];
    memset((char *)frame, n, sizeof frame);
    return n == -1 ? 0 : recurse_here(n + 1) + frame[n % 100];
}

KEPT int caller_of_nothing(int n) {
    return n + 1;
}

/* The return address of this function becomes `target`. */
KEPT void smash_here(uintptr_t target) {
    uintptr_t *top = __builtin_frame_address(0);
    for (int i = 0; i < 24; i++)
        ((volatile uintptr_t *)top)[i] = target;
}

/* The same in a function that has called another one, whose return address stays below the stack. */
KEPT void smash_and_call_here(uintptr_t target) {
    sink = caller_of_nothing(1);
    uintptr_t *top = __builtin_frame_address(0);
    for (int i = 0; i < 24; i++)
        ((volatile uintptr_t *)top)[i] = target;
}

static void *thread_main(void *unused) {
    (void)unused;
    caller_of_fault();
    return NULL;
}

static void *recursing_thread(void *unused) {
    sink = recurse_here(0);
    return unused;
}

static void *waiting_thread(void *unused) {
    pause();
    return unused;
}

static void in_thread(void *(*body)(void *)) {
    pthread_t thread, other;
    pthread_create(&other, NULL, waiting_thread, NULL);
    pthread_create(&thread, NULL, body, NULL);
    pthread_join(thread, NULL);
}

static void reset_and_raise(int signal_number) {
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void reset_and_kill(int signal_number) {
    signal(signal_number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    kill(getpid(), signal_number);
}

static void handler_aborts(int unused) {
    (void)unused;
    abort();
}

static void handler_exits(int unused) {
    (void)unused;
    _exit(3);
}

static void handler_jumps(int unused) {
    (void)unused;
    siglongjmp(back, 1);
}

static void reset_and_return(int signal_number) { signal(signal_number, SIG_DFL); }

static void handle(void (*handler)(int), int other_stack) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = other_stack ? SA_ONSTACK : 0};
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    if (other_stack)
        sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
}

static void recover(void) {
    handle(handler_jumps, 0);
    if (!sigsetjmp(back, 1))
        caller_of_fault();
    puts("recovered");
}

KEPT int step_of_hang(int n) {
    for (volatile int i = 0; i < 1000; i++)
        n += i;
    return n;
}

KEPT void hang_here(void) {
    for (;;)
        sink = step_of_hang(sink);
}

KEPT void caller_of_hang(void) {
    hang_here();
    sink++;
}

static void *hanging_thread(void *unused) {
    caller_of_hang();
    return unused;
}

static void bus_error(void) {
    int file = memfd_create("short", 0);
    volatile int *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    fault_here(page);
}

static void forbidden_system_call(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {4, program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
    getppid();
}

static void spawn(const char *what) {
    char *arguments[] = {self, (char *)what, NULL};
    pid_t child;
    int status;
    posix_spawn(&child, self, NULL, NULL, arguments, (char *[]){NULL});
    waitpid(child, &status, 0);
    printf("child %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
}

static void fork_and(void (*body)(void)) {
    int status;
    if (fork() == 0)
        body();
    wait(&status);
    printf("child %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
}

static void *executing_thread(void *unused) {
    execl(self, self, "null-write", NULL);
    return unused;
}

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    self = arguments[0];
    setvbuf(stdout, NULL, _IONBF, 0);
#define CASE(name, ...) if (!strcmp(what, name)) { __VA_ARGS__; return 0; }
    CASE("null-write", caller_of_fault())
    CASE("null-call", null_call_here())
    CASE("wild-call", wild_call_here())
    CASE("wild-write", fault_here((int *)(zero + 0x123456000)))
    CASE("non-canonical", fault_here((int *)(zero + 0x1234567812345678)))
    CASE("divide", sink = divide_here((int)zero))
    CASE("illegal", __asm__ volatile("ud2"))
    CASE("trap", __asm__ volatile("int3"))
    CASE("privileged", __asm__ volatile("hlt"))
    CASE("misaligned", __asm__ volatile("movaps (%%rsp, %0), %%xmm0" ::"r"((uintptr_t)1) : "xmm0"))
    CASE("bus", bus_error())
    CASE("abort", abort())
    CASE("assert", assert(sink == 1))
    CASE("raise", raise(SIGSEGV))
    CASE("overflow", sink = recurse_here(0))
    CASE("overflow-thread", in_thread(recursing_thread))
    CASE("overflow-handled", handle(reset_and_raise, 1); sink = recurse_here(0))
    CASE("overflow-undeliverable", handle(reset_and_raise, 0); sink = recurse_here(0))
    CASE("return-to-nowhere", smash_here(zero + 0x123456000))
    CASE("return-after-call", smash_and_call_here(zero + 0x123456000))
    CASE("return-non-canonical", smash_here(zero + 0x3030303030303030))
    CASE("system-call", forbidden_system_call())
    CASE("thread", in_thread(thread_main))
    CASE("fork", fork_and(caller_of_fault))
    CASE("spawn", spawn("null-write"))
    CASE("exec-by-thread", in_thread(executing_thread))
    CASE("re-raise", handle(reset_and_raise, 0); caller_of_fault())
    CASE("re-raise-other-stack", handle(reset_and_raise, 1); caller_of_fault())
    CASE("re-kill", handle(reset_and_kill, 0); caller_of_fault())
    CASE("re-fault", handle(reset_and_return, 0); caller_of_fault())
    CASE("handler-aborts", handle(handler_aborts, 0); caller_of_fault())
    CASE("handler-exits", handle(handler_exits, 0); caller_of_fault())
    CASE("recover", recover())
    CASE("recover-then-abort", recover(); abort())
    CASE("ignored", signal(SIGABRT, SIG_IGN); raise(SIGABRT))
    CASE("hang", caller_of_hang())
    CASE("hang-thread", in_thread(hanging_thread))
    CASE("wait", pause())
    CASE("background", if (fork() == 0) { sleep(1); puts("still here"); })
    CASE("twice", fork_and(caller_of_fault); fork_and(abort))
    CASE("segv-parent", if (fork() == 0) { kill(getppid(), SIGSEGV); _exit(0); } pause())
    CASE("exit", exit(count > 2 ? atoi(arguments[2]) : 0))
    return 99;
}
