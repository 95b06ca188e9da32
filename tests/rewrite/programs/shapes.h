/* Functions whose first instructions are of every shape that the rewriter must move, and more ordinary ones. */
#ifndef SHAPES_H
#define SHAPES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

/* in assembly, one shape each (see shapes.c) */
long shape_rip_load(void);
long shape_rip_store(long value);
long shape_rip_compare(void);
long shape_jump_short(long value);
long shape_jump_near(long value);
long shape_branch_short(long value);
long shape_branch_near(long value);
long shape_rcx_zero(long a, long b, long c, long rcx);
long shape_loop(long a, long b, long c, long rcx);
long shape_call(void);
long shape_call_indirect(void);
long shape_call_register(void *(*callee)(void));
long shape_syscall(long a, long b, long c);
long shape_flags(long a, long b);
long shape_endbr(long value);
long shape_short(void);
long shape_vector_rip(double *out);
void shape_call_returns(void), shape_call_indirect_returns(void), shape_call_register_returns(void); /* labels */

/* in C */
int many_arguments(int a, int b, int c, int d, int e, int f, int g, int h, double x, float y);
int with_varargs(int count, ...);
struct triple {
    long a, b, c;
};
struct triple returns_struct(long seed);
double of_doubles(double a, double b);
unsigned fibonacci(unsigned n);
int jumps_out(jmp_buf where, int value);
size_t fills(char *out, size_t size);
long crashes(const long *where); /* changes shape_word, and changes it back behind the fault */
extern long shape_word;
void *return_address(void);
extern long failures_in_shapes;

#endif
