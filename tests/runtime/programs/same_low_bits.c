// region: region
// Two targets of indirect branches, 64 KiB apart, share a place in the lookup table.  `first` reads no flags, `second`
// is reached with flags that it reads.
#include <stdio.h>
__asm__(".balign 65536\nfirst: xor %eax, %eax\n ret\n"
        ".balign 65536\nsecond: setc %al\n seto %ah\n movzwl %ax, %eax\n ret\n");
extern int first(void), second(void);
static int flags_at(int (*target)(void), int carry) {
    int result = carry;
    __asm__ volatile("add $0x7fffffff, %%eax\n bt $0, %%edx\n call *%%rcx" : "+a"(result) : "c"(target), "d"(carry) : "cc", "memory");
    return result;
}
__attribute__((noipa)) int region(int (*volatile *targets)(void)) {
    int sum = 0;
    for (int i = 0; i < 64; i++)
        sum = sum * 3 + flags_at(targets[i % 3 % 2], i / 2 % 2);
    return sum;
}
int main(void) {
    int (*volatile targets[2])(void) = {first, second};
    printf("%d\n", region(targets));
    return 0;
}
