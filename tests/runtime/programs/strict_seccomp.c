// region: region
// carried: 1
// A filter that kills at every system call but read, write, exit_group and rt_sigreturn is installed after one warm-up.
// Regions go on being entered and left without a system call: through indirect branches that collide in the lookup
// table, on a stack deeper than before, with a large log, writing to memory that is new, reading and writing.
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
enum { NEW_BYTES = 8 << 20 };
static char first_page[4096], *fresh = first_page;
long first(long), second(long);
/* The low 16 bits of their addresses are the same. */
__asm__(".text\n.balign 64\n.globl first, second\nfirst: lea 1(%rdi), %rax\n ret\n .skip 65536 - 5\n second: lea 2(%rdi), %rax\n ret");
static long (*volatile functions[])(long) = {first, second};
__attribute__((noinline)) static long deep(long n) {
    volatile char frame[3000];
    frame[n % 3000] = 1;
    return n ? deep(n - 1) + frame[n % 3000] : 0;
}
static int pipes[2];
__attribute__((noipa)) long region(long n, long levels, long bytes) {
    long sum = 0;
    for (int i = 0; i < 4; i++)
        sum += functions[i & 1](n);
    if (levels)
        sum += deep(levels);
    for (long i = 0; i < bytes; i += 64)
        fresh[i] = (char)n;
    if (n % 100 == 0) {
        write(pipes[1], &sum, sizeof sum);
        read(pipes[0], &n, sizeof n);
        sum += n;
    }
    return sum;
}

int main(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    char line[100];
    pipe(pipes);
    long sum = region(0, 3, 64 * 3) - region(0, 3, 64 * 3);
    fresh = mmap(NULL, NEW_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        perror("prctl");
    for (long i = 0; i < 20000; i++)
        sum += region(i, i % 1000 == 7 ? 300 : 0, i % 5000 == 3 ? NEW_BYTES : 0);
    write(1, line, snprintf(line, sizeof line, "%ld\n", sum));
    read(0, line, 1); /* while the test reads the counters */
    _exit(0);
}
