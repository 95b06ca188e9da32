// A signal that comes while a region runs finds the original program: its PC, and every register as it has it there.
// regions: spin visit
#define _GNU_SOURCE
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

static uint64_t area[4096];
static volatile uint64_t arrivals, moved, wrong_place, wrong_registers;
extern char loop_start, loop_end;

// A loop in which every register but rcx, rsi (and rsp) holds its own number, with stores, calls, returns, flags kept over
// stores, indirect branches, a pop of the stack's and a conditional branch in both directions.
uint64_t spin(uint64_t rounds, uint64_t *at);
__asm__(".text\n.globl spin\n.type spin, @function\nspin:\n"
        "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rdi, %rcx\n"
        "mov $3, %ebx\nmov $5, %ebp\nmov $7, %edi\nmov $8, %r8d\nmov $9, %r9d\nmov $10, %r10d\nmov $11, %r11d\n"
        "mov $12, %r12d\nmov $13, %r13d\nmov $14, %r14d\nmov $15, %r15d\nmov $2, %edx\nmov $1, %eax\n"
        ".globl loop_start\nloop_start:\n"
        "mov %rax, (%rsi)\n"
        "cmp $1, %eax\n" // ZF and PF stay set over the stores below
        "mov %rdx, 512(%rsi)\n"
        "mov %r15, 1024(%rsi)\n"
        "jne 3f\n"
        "call 1f\n"
        "push %r14\npop %r14\n"
        "movl $5, area+800(%rip)\n"
        "jmp *leaf_pointer(%rip)\n"
        "4:\n"
        "dec %rcx\njnz loop_start\n"
        "jmp 2f\n"
        "1: mov %r8, 2048(%rsi)\nret\n"
        "3: ud2\n"
        "leaf_target: nop\njmp 4b\n"
        ".globl loop_end\nloop_end:\n"
        "2: mov $42, %eax\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n.size spin, .-spin\n"
        ".data\nleaf_pointer: .quad leaf_target\n.text\n");

// Small and entered often: signals come in its entry and exit, too.
__attribute__((noinline)) uint64_t visit(uint64_t n) {
    area[n % 64] += n;
    __asm__ volatile("" ::: "memory");
    return area[n % 64];
}

static struct {
    uintptr_t start, end;
    int appended; // not the file's first executable segment
} code[64];
static int code_count;

static int note(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size, (void)unused;
    for (int i = 0, met = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X && code_count < 64) {
            code[code_count].start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            code[code_count].end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
            code[code_count++].appended = met++;
        }
    return 0;
}

static void on_alarm(int signal, siginfo_t *info, void *more) {
    (void)signal, (void)info;
    const greg_t *r = ((ucontext_t *)more)->uc_mcontext.gregs;
    const uintptr_t pc = (uintptr_t)r[REG_RIP];
    int known = 0;
    for (int i = 0; i < code_count; i++)
        if (pc >= code[i].start && pc < code[i].end) {
            known = 1;
            moved += code[i].appended; // an instruction that the jump at a region's entry has displaced
        }
    wrong_place += !known;
    if (pc >= (uintptr_t)&loop_start && pc < (uintptr_t)&loop_end)
        wrong_registers += r[REG_RAX] != 1 || r[REG_RDX] != 2 || r[REG_RBX] != 3 || r[REG_RBP] != 5 ||
                           r[REG_RDI] != 7 || r[REG_R8] != 8 || r[REG_R9] != 9 || r[REG_R10] != 10 ||
                           r[REG_R11] != 11 || r[REG_R12] != 12 || r[REG_R13] != 13 || r[REG_R14] != 14 ||
                           r[REG_R15] != 15;
    arrivals++;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval often = {{0, 150}, {0, 150}};
    dl_iterate_phdr(note, NULL);
    sigaction(SIGALRM, &action, NULL);
    struct sigaction now;
    sigaction(SIGALRM, NULL, &now);
    int same = now.sa_sigaction == on_alarm && now.sa_flags & SA_SIGINFO;
    setitimer(ITIMER_REAL, &often, NULL);
    uint64_t sum = 0, rounds = 0;
    while (arrivals < 2000) {
        sum += spin(200, area);
        for (uint64_t i = 0; i < 200; i++)
            sum += visit(i) ? 0 : i;
        rounds++;
    }
    often = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    printf("%d %d wrong places %lu, registers %lu, displaced %s\n", sum == 42 * rounds, same, wrong_place,
           wrong_registers, moved * 50 < arrivals ? "few" : "many");
    return 0;
}
