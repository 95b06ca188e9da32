/* Calls every function of shapes.c and says "ok", or which one went wrong.  With an argument, one of them faults. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shapes.h"

static int failures;
static volatile sig_atomic_t signals;

static void check(int right, const char *what) {
    if (!right) {
        printf("wrong: %s\n", what);
        failures++;
    }
}
#define CHECK(condition) check(condition, #condition)

static void on_signal(int number) { signals += number; }

int main(int argc, char **argv) {
    jmp_buf back;
    volatile int jumped = 0;
    char text[16] = {0};
    double doubles[2] = {0, 0};
    (void)argv;

#ifdef FAR
    extern long *far_pointer;
    *far_pointer = 5;
    CHECK(*far_pointer == 5);
#endif
    if (argc > 1) {
        long *volatile nowhere = NULL;
        CHECK(crashes(nowhere) == -1);
        CHECK(shape_word == 41);
    }
    CHECK(shape_rip_load() == 42);
    CHECK(shape_rip_store(3) == 10);
    CHECK(shape_rip_compare() == 1);
    CHECK(shape_jump_short(5) == 6);
    CHECK(shape_jump_near(5) == 7);
    CHECK(shape_branch_short(0) == 20 && shape_branch_short(1) == 10);
    CHECK(shape_branch_near(-1) == 30 && shape_branch_near(1) == 10);
    CHECK(shape_rcx_zero(0, 0, 0, 0) == 2 && shape_rcx_zero(0, 0, 0, 1) == 1);
    CHECK(shape_loop(0, 0, 0, 1) == 0 && shape_loop(0, 0, 0, 4) == 9);
    CHECK(shape_call() == (long)shape_call_returns);
    CHECK(shape_call_indirect() == (long)shape_call_indirect_returns);
    CHECK(shape_call_register(return_address) == (long)shape_call_register_returns);
    CHECK(shape_syscall(0, 0, 0) == getpid());
    CHECK(shape_flags(1, 2) == 1 && shape_flags(2, 1) == 0);
    CHECK(shape_endbr(21) == 42);
    CHECK(shape_short() == 0);
    CHECK(shape_vector_rip(doubles) >= 0 || 1);
    CHECK(doubles[0] == 1.5 && doubles[1] == 2.5);
    CHECK(many_arguments(1, 2, 3, 4, 5, 6, 7, 8, 1.5, 0.25f) == 208);
    CHECK(with_varargs(4, 1, 2.0, 3, 4.0) == 10);
    CHECK(returns_struct(5).c == 15);
    CHECK(of_doubles(2, 4) == 8.5);
    CHECK(fibonacci(12) == 144);
    if (!setjmp(back)) jumps_out(back, 1);
    else jumped = 1;
    CHECK(jumped == 1);
    CHECK(fills(text, 15) == 15);

    struct sigaction action = {.sa_handler = on_signal};
    sigset_t set;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(signal(SIGUSR2, on_signal) == SIG_DFL);
    raise(SIGUSR1);
    raise(SIGUSR2);
    CHECK(signals == SIGUSR1 + SIGUSR2);
    sigemptyset(&set);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);

    static char zero[100000];
    for (size_t i = 0; i < sizeof zero; i++) failures += zero[i] != 0;
    memset(zero, argc, sizeof zero);
    puts(failures ? "failed" : "ok");
    return failures != 0;
}
