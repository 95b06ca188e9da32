#include "shapes.h"

#include <string.h>

long shape_word = 41;
static const double shape_doubles[2] __attribute__((aligned(16), used)) = {1.5, 2.5};
void *(*shape_pointer)(void) = return_address;

#define FUNCTION(name, body)                                                                                           \
    __asm__(".text\n.balign 16\n.globl " #name "\n.type " #name ", @function\n" #name ":\n.cfi_startproc\n" body        \
            "\n.cfi_endproc\n.size " #name ", .-" #name "\n")

#define LABEL(name) ".globl " #name "\n.type " #name ", @function\n" #name ": "

#ifdef SHAPES_IN_LIBRARY
#define WORD "shape_word_alias(%rip)"
#define POINTER "shape_pointer_alias(%rip)"
extern long shape_word_alias __attribute__((alias("shape_word"), visibility("hidden")));
extern void *(*shape_pointer_alias)(void) __attribute__((alias("shape_pointer"), visibility("hidden")));
#else
#define WORD "shape_word(%rip)"
#define POINTER "shape_pointer(%rip)"
#endif

FUNCTION(shape_rip_load, "mov " WORD ", %rax\nadd $1, %rax\nret");
FUNCTION(shape_rip_store, "movq $7, " WORD "\nmov " WORD ", %rax\nadd %rdi, %rax\nmovq $41, " WORD "\nret");
FUNCTION(shape_rip_compare, "cmpl $41, " WORD "\nsete %al\nmovzbl %al, %eax\nret");
FUNCTION(shape_jump_short, "jmp 1f\n.skip 8, 0xcc\n1: lea 1(%rdi), %rax\nret");
FUNCTION(shape_jump_near, "jmp 1f\n.skip 200, 0xcc\n1: lea 2(%rdi), %rax\nret");
FUNCTION(shape_branch_short, "test %edi, %edi\nje 1f\nmov $10, %eax\nret\n1: mov $20, %eax\nret");
FUNCTION(shape_branch_near, "test %edi, %edi\njs 1f\nmov $10, %eax\nret\n.skip 200, 0xcc\n1: mov $30, %eax\nret");
FUNCTION(shape_rcx_zero, "jrcxz 1f\nmov $1, %eax\nret\n1: mov $2, %eax\nret");
FUNCTION(shape_loop, "xor %eax, %eax\nloop 1f\nret\n1: add $3, %eax\nloop 1b\nret");
FUNCTION(shape_call, "call return_address@PLT\n" LABEL(shape_call_returns) "ret");
FUNCTION(shape_call_indirect,
         "call *" POINTER "\n" LABEL(shape_call_indirect_returns) "ret");
FUNCTION(shape_call_register, "sub $8, %rsp\n.cfi_adjust_cfa_offset 8\ncall *%rdi\n" LABEL(shape_call_register_returns)
                              "add $8, %rsp\n.cfi_adjust_cfa_offset -8\nret");
FUNCTION(shape_syscall, "mov $39, %al\nmovzbl %al, %eax\nsyscall\nret");
FUNCTION(shape_flags, "cmp %rsi, %rdi\nmov $0, %eax\nsetb %al\nret");
FUNCTION(shape_endbr, "endbr64\nmov %rdi, %rax\nshl $1, %rax\nret");
FUNCTION(shape_short, "xor %eax, %eax\nret");
FUNCTION(shape_vector_rip, "movapd shape_doubles(%rip), %xmm0\nmovupd %xmm0, (%rdi)\nret");

__attribute__((noinline)) void *return_address(void) { return __builtin_return_address(0); }

int many_arguments(int a, int b, int c, int d, int e, int f, int g, int h, double x, float y) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + (int)(x * 2) + (int)(y * 4);
}

int with_varargs(int count, ...) {
    va_list list;
    int sum = 0;
    va_start(list, count);
    for (int i = 0; i < count; i++) sum += i % 2 ? (int)va_arg(list, double) : va_arg(list, int);
    va_end(list);
    return sum;
}

struct triple returns_struct(long seed) { return (struct triple){seed, seed * 2, seed * 3}; }
double of_doubles(double a, double b) { return a * b + 0.5; }
unsigned fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
int jumps_out(jmp_buf where, int value) { longjmp(where, value); }

size_t fills(char *out, size_t size) {
    char local[64];
    memset(local, 'x', sizeof local);
    memcpy(out, local, size < sizeof local ? size : sizeof local);
    return strlen(out);
}

long crashes(const long *where) {
    shape_word++;
    long value = *(const volatile long *)where;
    shape_word--;
    return value;
}
