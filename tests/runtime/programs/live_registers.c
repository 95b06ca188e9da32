// region: region
// faults: 1
// Registers that a function leaves alone may be live in its caller, whatever the convention says (gcc's -fipa-ra).
#include <stdio.h>
long region(void *bad);
__asm__(".text\n.globl region\n.type region, @function\nregion:\n .cfi_startproc\n movq $1, counter(%rip)\n mov (%rdi), %eax\n ret\n nop\n nop\n nop\n"
        " .cfi_endproc\n.size region, . - region\n");
long counter;
int main(void) {
    static const double value = 2.5;
    for (long i = 1; i < 50; i++) {
        register long rdi __asm__("rdi") = 0, rsi __asm__("rsi") = i, rdx __asm__("rdx") = i * 2, rcx __asm__("rcx") = i * 3;
        register long r8 __asm__("r8") = i * 4, r9 __asm__("r9") = i * 5, r10 __asm__("r10") = i * 6, r11 __asm__("r11") = i * 7;
        register double xmm0 __asm__("xmm0") = value * (double)i;
        long result = -1;
        if (!ORACLE)
            __asm__ volatile("call region"
                             : "=a"(result), "+r"(rdi), "+r"(rsi), "+r"(rdx), "+r"(rcx), "+r"(r8), "+r"(r9), "+r"(r10),
                               "+r"(r11), "+x"(xmm0)::"memory");
        long a = rdi, b = rsi, c = rdx, d = rcx, e = r8, f = r9, g = r10, h = r11;
        double x = xmm0;
        printf("%ld: %ld %ld %ld %ld %ld %ld %ld %ld %.1f %ld\n", result, a, b, c, d, e, f, g, h, x, counter);
    }
    return 0;
}
