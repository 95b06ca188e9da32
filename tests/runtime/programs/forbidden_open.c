// region: region
// Behind a call that does not return linkers fill up with int3, which never runs.  A program that has forbidden itself
// to open files is not killed because the region's code is looked at.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
volatile int sink;
__attribute__((noipa)) int region(int n) {
    sink = n;
    if (n < 0)
        __asm__ volatile("call abort@plt\n int3");
    return n * 2;
}
int main(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        perror("prctl");
    long sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += region(i);
    printf("%ld\n", sum);
    return 0;
}
