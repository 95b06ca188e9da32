// regions: region quotient
// faults: 1
// A program that handles its faults itself.  Outside of regions its handlers get each fault as without us: information,
// program counter, registers, signal stack, mask; on threads too; and go on by siglongjmp, or by changing the context.
// Inside a region the same fault is undone, and the handlers do not hear of it.
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
static __thread sigjmp_buf target;
static __thread int skip;
static volatile int zero, heard;
static char *readonly;
void read_null(void), write_constant(void), divide(void), undefined(void), trap(void), general_protection(void);
#define REGISTERS                                                                                                      \
    "mov $0x1111, %ebx\n mov $0x2222, %ecx\n mov $0x3333, %esi\n mov $0x4444, %r8d\n mov $0x5555, %r15d\n"             \
    "mov $0x7777, %edx\n"
#define FAULTS(name, instructions, at)                                                                                 \
    __asm__(".text\n.type " #name ", @function\n" #name ": push %rbx\n push %r15\n" REGISTERS at ": " instructions     \
            "\n pop %r15\n pop %rbx\n ret\n.size " #name ", . - " #name)
FAULTS(read_null, "mov 8, %rax\n nop\n nop", "at0");
FAULTS(write_constant, "mov %rcx, (%rdi)\n .byte 0x0f,0x1f,0x44,0,0", "at1");
FAULTS(divide, "xor %ecx, %ecx\n at_divide: div %ecx", "at2");
FAULTS(undefined, "ud2", "at3");
FAULTS(trap, "int3", "at4");
FAULTS(general_protection, "movabs $0x8000000000000000, %rax\n at_gp: mov (%rax), %rax", "at5");
extern char at0[], at1[], at_divide[], at3[], at4[], at_gp[];
static char *const places[] = {at0, at1, at_divide, at3, at4, at_gp};
static void on_fault(int number, siginfo_t *info, void *argument) {
    const greg_t *registers = ((ucontext_t *)argument)->uc_mcontext.gregs;
    sigset_t mask;
    stack_t now;
    char here;
    int at = -1;
    for (int i = 0; i < 6; i++)
        if ((char *)registers[REG_RIP] == places[i] + (number == SIGTRAP))
            at = i;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigaltstack(NULL, &now);
    stack_t same = {now.ss_sp, now.ss_flags & ~SS_ONSTACK, now.ss_size};
    const int refused = sigaltstack(&same, NULL); /* where we are on it */
    const char *address = info->si_addr;
    printf("signal %d code %d at %d address %s rbx %llx rcx %llx rsi %llx r8 %llx r15 %llx rdx %llx stack %d %d %d blocked %d %d\n",
           number, info->si_code, at,
           at >= 0 && address == places[at] ? "its own" : address == readonly ? "readonly" : address ? "8" : "0",
           registers[REG_RBX], at == 2 ? 0 : registers[REG_RCX], registers[REG_RSI], registers[REG_R8],
           registers[REG_R15], registers[REG_RDX], &here >= (char *)now.ss_sp && &here < (char *)now.ss_sp + now.ss_size,
           now.ss_flags, refused, sigismember(&mask, number), sigismember(&mask, SIGUSR1));
    if (++heard > 1000) /* unhardened: a fault in a region comes again and again */
        _exit(3);
    if (skip && at == 0) { /* go on behind the eight bytes of the load, with another register */
        ((ucontext_t *)argument)->uc_mcontext.gregs[REG_RIP] += 8;
        return;
    }
    siglongjmp(target, number);
}
__attribute__((noipa)) int region(int kind) {
    static void (*volatile functions[])(void) = {read_null, (void (*)(void))write_constant, divide, undefined, trap,
                                                 general_protection};
    ((void (*)(void *))functions[kind])(readonly);
    return 1;
}
__attribute__((noipa)) int quotient(int a, int b) {
    return a / b;
}
static void all(const char *who) {
    static void (*const functions[])(void) = {read_null, write_constant, divide, undefined, trap, general_protection};
    for (int kind = 0; kind < 6; kind++)
        for (volatile int way = 0; way < 2; way++) {
            skip = way;
            int number = sigsetjmp(target, 1);
            if (number == 0) {
                ((void (*)(void *))functions[kind])(readonly);
                printf("%s went on\n", who);
            } else {
                printf("%s came back with %d\n", who, number);
            }
            const int before = heard;
            int result = ORACLE ? -1 : region(kind);
            if (kind == 2)
                result += ORACLE ? -1 : quotient(kind, zero);
            printf("%s in a region: %d, heard %d\n", who, result, heard - before);
        }
}
static void *thread(void *argument) {
    char *memory = malloc(1 << 16);
    stack_t alternate = {.ss_sp = memory, .ss_size = 1 << 16};
    sigaltstack(&alternate, NULL);
    if (argument)
        quotient(1, 1); /* a context is there before the first fault */
    all("thread");
    alternate.ss_flags = SS_DISABLE;
    sigaltstack(&alternate, NULL);
    free(memory);
    return NULL;
}
int main(void) {
    static char memory[1 << 16];
    stack_t alternate = {.ss_sp = memory, .ss_size = sizeof memory};
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaddset(&action.sa_mask, SIGUSR1);
    readonly = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 2; round++) {
        if (round) {
            action.sa_flags |= SA_ONSTACK;
            sigaltstack(&alternate, NULL);
        }
        for (int i = 0; i < 5; i++)
            sigaction(signals[i], &action, NULL);
        all("main");
    }
    for (long i = 0; i < 3; i++) {
        pthread_t made;
        pthread_create(&made, NULL, thread, (void *)(i & 1));
        pthread_join(made, NULL);
    }
    return 0;
}
