// region: passes_on
// faults: 1
// carried: 1
// A region that goes on in another function by a jump has handed it its own stack arguments, which that one may change:
// they lie above the checkpoint, in the frame of the region's caller.
#include <stdio.h>
static volatile int zero;
struct words {
    long at[6];
};
__attribute__((noipa)) long direct(struct words given, int fails) {
    volatile struct words *mine = &given;
    for (int i = 0; i < 6; i++)
        mine->at[i] = i * 1000 + 7;
    mine->at[2]++;
    return fails ? 100 / zero : mine->at[5];
}
__attribute__((noipa)) long with_frame(struct words given, int fails) {
    volatile long room[50];
    room[49] = fails;
    for (int i = 0; i < 6; i++)
        room[i] = given.at[i] = i + fails;
    __asm__ volatile("" ::"r"(&given) : "memory");
    return room[49] ? 100 / zero : room[3];
}
typedef long function(struct words, int);
static function *volatile functions[] = {direct, with_frame};
__attribute__((noipa)) long passes_on(struct words given, int fails, int which) {
    return functions[which](given, fails);
}
/* Calls with six words on the stack, and tells what has become of them. */
long call_and_look(int fails, int which);
__asm__(".text\ncall_and_look:\n push %rbx\n mov %esi, %ebx\n mov %ebx, %esi\n"
        " push $61\n push $51\n push $41\n push $31\n push $21\n push $11\n call passes_on\n"
        " pop %rbx\n lea (%rbx,%rbx,2), %rbx\n pop %rcx\n add %rcx, %rbx\n lea (%rbx,%rbx,2), %rbx\n"
        " pop %rcx\n add %rcx, %rbx\n lea (%rbx,%rbx,2), %rbx\n pop %rcx\n add %rcx, %rbx\n lea (%rbx,%rbx,2), %rbx\n"
        " pop %rcx\n add %rcx, %rbx\n lea (%rbx,%rbx,2), %rbx\n pop %rcx\n add %rcx, %rbx\n"
        " lea (%rax,%rbx), %rax\n pop %rbx\n ret\n");
static long outcome(int fails, int which) {
#if ORACLE
    if (fails)
        return 1 * (((((11 * 3 + 21) * 3 + 31) * 3 + 41) * 3 + 51) * 3 + 61) - 1;
#endif
    return call_and_look(fails, which);
}
int main(void) {
    for (int round = 0; round < 3; round++)
        for (int which = 0; which < 2; which++)
            printf("%ld %ld\n", outcome(0, which), outcome(1, which));
    fflush(stdout);
    getchar(); // while the counters are read
    return 0;
}
