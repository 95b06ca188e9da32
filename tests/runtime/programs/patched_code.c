// region: region rewrites directly victim
// The program's own code, patched after it has run in a region: between regions, inside one, and the entry of a region
// itself; as a hook does it, that makes the page writable and not writable again.  Never executed stale.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
enum { SIZE = 4096 };
/* Each on a page of its own, not where few samples would look. */
#define CODE(name)                                                                                                     \
    __asm__(".text\n.balign 4096\n.skip 1040, 0x90\n.globl " #name "\n.type " #name ", @function\n" #name ":\n"         \
            " mov %edi, %eax\n nopl 0(%rax)\n .byte 0x8d, 0x80, 1, 0, 0, 0\n ret\n.size " #name ", . - " #name "\n"     \
            ".balign 4096\n");
CODE(callee)
CODE(inner)
CODE(own)
CODE(victim)
extern int callee(int), inner(int), own(int), victim(int);
static void rewrite(int (*function)(int), int addend) {
    char *page = (char *)((unsigned long)function & -SIZE);
    if (mprotect(page, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC))
        abort();
    memcpy((char *)function + 7, /* of lea eax, [rax + addend] */ &addend, sizeof addend);
    mprotect(page, SIZE, PROT_READ | PROT_EXEC);
}
__attribute__((noipa)) int region(int (*volatile function)(int), int n) { return function(n) * 10 + callee(n); }
__attribute__((noipa)) int rewrites(int n) {
    int before = inner(n);
    rewrite(inner, 100 + n);
    return before * 1000 + inner(n);
}
static long protect(char *page, long rights) { /* no call that could be seen */
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(10), "D"(page), "S"(SIZE), "d"(rights) : "rcx", "r11", "memory");
    return result;
}
__attribute__((noipa)) int directly(int n) {
    char *page = (char *)((unsigned long)own & -SIZE);
    int before = own(n), addend = 200 + n;
    if (protect(page, PROT_READ | PROT_WRITE | PROT_EXEC))
        return -1;
    memcpy((char *)own + 7, &addend, sizeof addend);
    protect(page, PROT_READ | PROT_EXEC);
    return before * 1000 + own(n);
}
int main(void) {
    for (int i = 1; i < 5; i++)
        printf("%d\n", directly(i));
    for (int i = 1; i < 5; i++) {
        printf("%d %d ", region(callee, 1), region(callee, 2));
        rewrite(callee, i * 10);
        printf("%d ", region(callee, 1));
        printf("%d %d; ", rewrites(i), rewrites(i));
        printf("%d ", region(inner, 3));
        printf("%d ", victim(i));
        rewrite(victim, i * 7);
        printf("%d\n", victim(i));
    }
    return 0;
}
