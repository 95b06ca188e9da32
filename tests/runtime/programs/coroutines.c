// region: step within
// degrades: STACK_SWITCH
// Coroutines (makecontext, swapcontext) whose stacks are switched inside a region, and across one: entered on the stack
// of one coroutine, left for another that enters it too, and back.
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
enum { COROUTINES = 3, STACK = 64 << 10 };
static ucontext_t contexts[COROUTINES], scheduler, inner, caller;
static char stacks[COROUTINES][STACK], inner_stack[STACK];
static long steps, log_of[COROUTINES];
static int current;
static void yield(void) { /* round robin */
    int from = current;
    current = (current + 1) % COROUTINES;
    swapcontext(&contexts[from], &contexts[current]);
}
__attribute__((noipa)) long step(int id, int depth) {
    volatile long kept = id * 1000 + depth;
    log_of[id]++;
    if (depth == 0)
        yield();
    else
        kept += step(id, depth - 1);
    steps++;
    return kept;
}
static void body(int id) {
    for (int i = 0; i < 50; i++)
        log_of[id] += step(id, i % 4);
    for (int i = 0; i < 100; i++)
        yield();
    setcontext(&scheduler);
}
static void other(void) {
    for (;;) {
        steps += 3;
        swapcontext(&inner, &caller);
    }
}
__attribute__((noipa)) long within(int n) { /* out and back inside one call */
    swapcontext(&caller, &inner);
    return steps + n;
}
int main(void) {
    for (int i = 0; i < COROUTINES; i++) {
        getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = stacks[i];
        contexts[i].uc_stack.ss_size = STACK;
        makecontext(&contexts[i], (void (*)(void))body, 1, i);
    }
    volatile int done = 0;
    getcontext(&scheduler);
    if (!done++)
        setcontext(&contexts[0]);
    getcontext(&inner);
    inner.uc_stack.ss_sp = inner_stack;
    inner.uc_stack.ss_size = STACK;
    makecontext(&inner, other, 0);
    long sum = 0;
    for (int i = 0; i < 20; i++)
        sum += within(i);
    printf("%ld %ld %ld %ld %ld\n", steps, sum, log_of[0], log_of[1], log_of[2]);
    fflush(stdout);
    getchar();
    return 0;
}
