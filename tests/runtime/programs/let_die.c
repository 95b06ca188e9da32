// region: region
// options: --strategy die
// degrades: STRATEGY
// A fault in the region is what it is in the original program: the same signal, at the same instruction, with the same
// registers, to the program's own handler, or to none.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
long region(long way, long a, long b);
/* Faults of every kind, with known values in all registers and in the flags. */
__asm__(".text\n.globl region\n.type region, @function\nregion:\n .cfi_startproc\n"
        " push %rbx\n push %r15\n mov $11, %ebx\n mov $12, %r8d\n mov $13, %r9d\n mov $14, %r10d\n mov $15, %r11d\n mov $77, %r15d\n"
        " movq $5, counter(%rip)\n"
        " xor %eax, %eax\n mov $9, %ecx\n cmp $1, %rdi\n je 1f\n cmp $2, %rdi\n je 2f\n cmp $3, %rdi\n je 3f\n cmp $4, %rdi\n je 4f\n"
        " cmp $5, %rdi\n je 5f\n cmp $6, %rdi\n je 6f\n"
        " stc\n mov (%rax), %rcx\n"
        "1: cqo\n idiv %rax\n"
        "2: ud2\n"
        "3: int3\n nop\n"
        "4: movabs $0x123456789abcdef0, %rcx\n stc\n mov %rcx, (%rcx)\n"
        "5: mov $0x1000, %eax\n call *%rax\n"
        "6: mov $0x1000, %eax\n mov %rax, 16(%rsp)\n pop %r15\n pop %rbx\n ret\n"
        " .cfi_endproc\n.size region, . - region\n");
long counter;
static sigjmp_buf target;
static char text[4096];
static void tell(int number, siginfo_t *info, void *at) {
    const greg_t *g = ((ucontext_t *)at)->uc_mcontext.gregs;
    const long rip = g[REG_RIP] == 0x1000 ? 1 /* main's registers by then */ : g[REG_RIP] - (long)region;
    sprintf(text + strlen(text), "%d %d %lx rip %lx rax %llx rbx %llx rcx %llx rdx %llx r8 %llx r11 %llx r15 %llx flags %llx counter %ld; ",
            number, info->si_code, number == SIGSEGV ? (long)info->si_addr : 0, rip, g[REG_RAX], rip == 1 ? 0 : g[REG_RBX], number == SIGTRAP ? 0 : g[REG_RCX],
            g[REG_RDX], g[REG_R8], g[REG_R11], rip == 1 ? 0 : g[REG_R15], number == SIGSEGV ? g[REG_EFL] & 0x8d5 : 0, counter);
    siglongjmp(target, 1);
}
int main(void) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int round = 0; round < 3; round++)
        for (long way = 0; way < 7; way++) {
            struct sigaction action = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO | SA_NODEFER};
            for (int i = 0; i < 5; i++)
                sigaction(signals[i], &action, NULL);
            if (!sigsetjmp(target, 1))
                region(way, 3, 4);
            pid_t pid = fork(); /* and without a handler */
            if (!pid) {
                for (int i = 0; i < 5; i++)
                    signal(signals[i], SIG_DFL);
                alarm(10);
                region(way, 1, 2);
                _exit(0);
            }
            int status = 0;
            waitpid(pid, &status, 0);
            if (round == 2)
                sprintf(text + strlen(text), "%d; ", status & 0x7f);
            else if (round < 1)
                *text = 0;
        }
    puts(text);
    fflush(stdout);
    getchar();
    return 0;
}
