// region: region
// faults: 1
// Under a filter that kills at every system call but write, exit_group and rt_sigreturn, faults are still undone: a
// recovery needs the return from its signal handler, and nothing else.
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
enum { WAYS = 5 };
static volatile long zero, memory[1000];
__attribute__((noinline)) static long deep(long n) {
    volatile char frame[2000];
    frame[n % 2000] = 1;
    return deep(n + 1) + frame[n % 2000];
}
__attribute__((noipa)) long region(long n) {
    for (int i = 0; i < 1000; i++)
        memory[i] = n;
    switch (n % WAYS) {
    case 0:
        return n / zero;
    case 1:
        return *(volatile long *)(zero + 8);
    case 2:
        __asm__ volatile("ud2");
    case 3:
        return ((long (*)(void))(zero + 8))();
    default:
        return deep(n);
    }
}
int main(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    char line[100];
    long refused = 0, left = 0;
    for (long i = 0; i < WAYS && !ORACLE; i++)
        region(i); /* the code is known then */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        perror("prctl");
    for (long i = 0; i < 20 * WAYS; i++) {
        memory[i] = -i;
        refused += (ORACLE ? -1 : region(i)) == -1;
        left += memory[i] == -i;
    }
    write(1, line, snprintf(line, sizeof line, "refused %ld, undone %ld\n", refused, left));
    _exit(0);
}
