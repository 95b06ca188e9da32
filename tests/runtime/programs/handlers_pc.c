// region: region
// Handlers that interrupt region code see its own addresses and the registers that belong to them, as profilers and
// garbage collectors need them; what they change takes effect.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <ucontext.h>
extern char __executable_start[], etext[];
extern char loop_begin[], loop_end[], helper_begin[], helper_second[], helper_end[];
enum { TIMES = 500000 };
static volatile long seen, foreign, inside, wrong, changed;
long sink;
static void on_alarm(int number, siginfo_t *info, void *argument) {
    greg_t *at = ((ucontext_t *)argument)->uc_mcontext.gregs;
    const char *pc = (char *)at[REG_RIP];
    const int in_loop = pc >= loop_begin && pc < loop_end, in_helper = pc >= helper_begin && pc < helper_end;
    seen++;
    if (pc < __executable_start || pc >= etext)
        foreign++; // a few: an instruction that the jump at an entry has displaced
    if (!in_loop && !in_helper)
        return;
    inside++;
    if (at[REG_RBX] != 0x123456789a || at[REG_RSP] != at[REG_R14] - (in_helper ? 8 : 0) ||
        at[REG_R12] + at[REG_R13] != TIMES + (pc == helper_second))
        wrong++;
    if (in_loop && at[REG_R13] > 1000 && !changed) { /* cut it short */
        at[REG_R12] = TIMES - 10;
        at[REG_R13] = 10;
        changed = 1;
    }
}
/* How often it went round. */
__attribute__((noipa)) long region(void) {
    long rounds = 0;
    __asm__ volatile("mov %%rsp, %%r14\n movabs $0x123456789a, %%rbx\n mov $500000, %%r13d\n xor %%r12d, %%r12d\n"
                     ".globl loop_begin, loop_end, helper_begin, helper_second, helper_end\n"
                     "loop_begin: mov %%r12, sink(%%rip)\n inc %0\n call helper_begin\n test %%r13, %%r13\n jnz loop_begin\n"
                     "loop_end: jmp helper_end\n"
                     "helper_begin: lea 1(%%r12), %%r12\n helper_second: lea -1(%%r13), %%r13\n ret\n"
                     "helper_end:"
                     : "+r"(rounds)::"rbx", "r12", "r13", "r14", "memory", "cc");
    return rounds;
}
int main(void) {
    struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval often = {{0, 150}, {0, 150}};
    long shortened = 0;
    printf("%ld\n", region());
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 400 && inside < 500; i++)
        shortened += region() != TIMES;
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("seen %d, foreign %d, inside %d, wrong %d, shortened %ld\n", seen >= 200, foreign * 50 > seen, inside > 200,
           wrong != 0, shortened);
    return 0;
}
