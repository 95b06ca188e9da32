// region: region
// faults: 1
// A region that switches to an older stack that lies a little below its own, and faults there: what lay on that stack is
// undone too, though the frames of a region's own stack need not be.
#include <stdio.h>
#include <string.h>
static struct {
    char room[2][16 << 10]; /* [0] is the coroutine's, [1] the region's */
} stacks __attribute__((aligned(64)));
static void *saved_main, *saved_coroutine;
static volatile int zero, fail;
static long beats;
/* Push what the convention keeps, store rsp through rdi, load it from rsi. */
void exchange(void **save, void **load);
__asm__(".text\nexchange:\n push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n mov %rsp, (%rdi)\n"
        " mov (%rsi), %rsp\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");
void *on_stack(void *top, void *(*function)(void *), void *argument);
__asm__(".text\non_stack:\n push %rbp\n mov %rsp, %rbp\n mov %rdi, %rsp\n mov %rdx, %rdi\n call *%rsi\n"
        " mov %rbp, %rsp\n pop %rbp\n ret\n");
__attribute__((noipa)) static long deep(int n) { return n ? deep(n - 1) * 3 + n : 100 / fail; }
static void coroutine(void) {
    volatile long kept = 7; /* alive while others run, on a stack that the region below steps on */
    for (;;) {
        exchange(&saved_coroutine, &saved_main);
        beats += kept;
        kept++;
        if (!fail)
            deep(20);
    }
}
__attribute__((noipa)) long region(long n) {
    exchange(&saved_main, &saved_coroutine);
    return n + beats;
}
static void *on_upper(void *unused) {
    fail = 1;
    for (int i = 0; i < 4; i++) {
        printf("%ld", region(i));
        fail = 0;
        printf(" %ld", ORACLE ? -1 : region(i)); /* kept counted up, and frames pushed: all undone */
        fail = 1;
        printf(" %ld\n", beats);
    }
    return NULL;
}
int main(void) {
    void **frame = (void **)(stacks.room[0] + sizeof stacks.room[0]) - 8;
    frame[6] = (void *)coroutine;
    saved_coroutine = frame;
    exchange(&saved_main, &saved_coroutine); /* up to its first exchange */
    on_stack(stacks.room[1] + sizeof stacks.room[1], on_upper, NULL);
    return 0;
}
