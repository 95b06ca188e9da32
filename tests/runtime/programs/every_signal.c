// region: region
// Handlers for every signal, with each flag, installed before, in and after a region; sent from inside and outside.
// sigaction reads back what the program set; handlers get the sender's information, the right mask and stack.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static volatile struct {
    int number, code, mine, value, on_stack, blocked_self, blocked_usr2, nested, count;
} seen;
static char stack[1 << 16];
static volatile int depth, now_raising;
static void look(int number) {
    sigset_t mask;
    char here;
    seen.count++;
    seen.number = number;
    seen.on_stack = &here >= stack && &here < stack + sizeof stack;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    seen.blocked_self = sigismember(&mask, number);
    seen.blocked_usr2 = sigismember(&mask, SIGUSR2);
    if (depth++ == 0 && !seen.blocked_self && now_raising != SIGABRT)
        raise(number); /* nested */
    depth--;
    seen.nested += depth;
}
static void plain(int number) {
    look(number);
}
static void full(int number, siginfo_t *info, void *context) {
    seen.code = info->si_code;
    seen.mine = info->si_pid == getpid() && info->si_uid == getuid();
    seen.value = info->si_value.sival_int;
    if (info->si_signo != number)
        abort();
    look(number);
}
static int install(int number, int flags, int how) {
    struct sigaction action, back;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    if (how & 1)
        sigaddset(&action.sa_mask, SIGUSR2);
    action.sa_flags = flags;
    if (flags & SA_SIGINFO)
        action.sa_sigaction = full;
    else
        action.sa_handler = plain;
    if (sigaction(number, &action, NULL) || sigaction(number, NULL, &back))
        return -1;
    return (back.sa_flags & ~0x04000000 /* the C library's */) == flags && back.sa_handler == action.sa_handler &&
           sigismember(&back.sa_mask, SIGUSR2) == (how & 1);
}
static void send(int number, int way) {
    union sigval value = {.sival_int = number * 3};
    now_raising = number;
    if (way == 0)
        raise(number);
    else if (way == 1)
        kill(getpid(), number);
    else
        sigqueue(getpid(), number, value);
}
static int handler_of(int number) {
    struct sigaction now;
    sigaction(number, NULL, &now);
    return now.sa_handler == SIG_DFL ? 0 : now.sa_handler == plain ? 1 : now.sa_sigaction == full ? 2 : 9;
}
__attribute__((noipa)) int region(int number, int flags, int how, int installs, int sends, int way) {
    volatile long work = 0;
    int read_back = installs ? install(number, flags, how) : 5;
    for (int i = 0; i < 20; i++)
        work += i;
    if (sends)
        send(number, way);
    return read_back * 1000 + (int)work;
}
int main(void) {
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    for (int number = 1; number <= 64; number++) {
        if (number == SIGKILL || number == SIGSTOP || number == 32 || number == 33)
            continue;
        for (int round = 0; round < 16; round++) {
            const int flags = (round & 1 ? SA_SIGINFO : 0) | (round & 2 ? SA_ONSTACK : 0) | (round & 4 ? SA_NODEFER : 0) |
                              (round & 8 ? SA_RESETHAND : 0);
            const int inside = (number + round) % 4, way = round % 3;
            if (flags & SA_RESETHAND && flags & SA_NODEFER) /* the nested one would be fatal */
                continue;
            memset((void *)&seen, 0, sizeof seen);
            int read_back = inside & 1 ? 0 : install(number, flags, round);
            int result = region(number, flags, round, inside & 1, inside & 2, way);
            if (!(inside & 2))
                send(number, way);
            printf("%d %x: %d %d; got %d x%d code %d mine %d value %d stack %d blocked %d %d nested %d; now %d\n", number,
                   flags, read_back, result, seen.number, seen.count, seen.code, seen.mine, way == 2 ? seen.value : 0,
                   seen.on_stack, seen.blocked_self, seen.blocked_usr2, seen.nested, handler_of(number));
            signal(number, SIG_DFL);
            if (handler_of(number))
                printf("not default\n");
        }
    }
    return 0;
}
