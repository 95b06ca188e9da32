// region: parse
// faults: 1
// A server's unprivileged child, confined as an ssh server confines the one that talks to strangers: limits, an empty
// folder as root, another user, and a filter that allows computing, memory and the connection, refuses to open files, and
// kills at anything else, executable memory among it.  What its parent's regions have met is protected in the child; a
// code path that is new in the child runs natively instead of killing it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#define NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE(name)                                                                                                   \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES)
#define ALLOW_DATA(name) /* where the third argument, a protection, has no PROT_EXEC */                                \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 4),                                                             \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),                                    \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), NUMBER
static struct sock_filter rules[] = {
    NUMBER, REFUSE(openat), REFUSE(open), REFUSE(newfstatat), REFUSE(socket), ALLOW(brk), ALLOW(clock_gettime),
    ALLOW(close), ALLOW(exit), ALLOW(exit_group), ALLOW(futex), ALLOW(getpid), ALLOW(getrandom), ALLOW(gettimeofday),
    ALLOW(getuid), ALLOW(madvise), ALLOW(mremap), ALLOW(munmap), ALLOW(nanosleep), ALLOW(poll), ALLOW(ppoll), ALLOW(read),
    ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(select), ALLOW(shutdown), ALLOW(time), ALLOW(write), ALLOW(writev),
    ALLOW_DATA(mmap), ALLOW_DATA(mprotect), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
static volatile int zero;
static long handled;
__attribute__((noinline)) static int rarely(char *text) { /* met in the child only */
    for (char *at = text; *at; at++)
        *at = *at >= 'a' && *at <= 'z' ? *at - 32 : *at;
    return (int)strlen(strdup(text));
}
__attribute__((noipa)) int parse(char *text) {
    handled++;
    char *copy = malloc(strlen(text) + 1);
    strcpy(copy, text);
    int result = 0;
    for (char *at = copy; *at; at++)
        result = result * 31 + *at;
    if (text[0] == 'R')
        result = rarely(text);
    if (text[0] == 'F')
        result /= zero;
    free(copy);
    return result & 0xffff;
}
static void serve(int connection) {
    char message[200];
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_FSIZE, &none);
    setrlimit(RLIMIT_NPROC, &none);
    if (geteuid() == 0 && (chroot("/proc/self/fdinfo") || chdir("/") || setgroups(0, NULL) || setresgid(65534, 65534, 65534) ||
                           setresuid(65534, 65534, 65534)))
        _exit(90);
    setrlimit(RLIMIT_NOFILE, &none);
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        _exit(91);
    for (ssize_t count; (count = read(connection, message, sizeof message - 1)) > 0;) {
        message[count] = 0;
        int result = ORACLE && message[0] == 'F' ? -1 : parse(message);
        char answer[300];
        int length = snprintf(answer, sizeof answer, "%d %s %ld", result, message, handled);
        write(connection, answer, (size_t)length);
    }
    _exit(0);
}
int main(void) {
    static const char *const messages[] = {"hello", "Fault", "again", "Fault", "Rare", "Rare", "hello"};
    char text[300] = "warm";
    printf("%d\n", parse(text));
    strcpy(text, "Fwarm");
    printf("%d\n", ORACLE ? -1 : parse(text));
    for (int with = 5; with >= 4; with--) { /* the first child meets nothing that is new */
        int ends[2], status;
        socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
        fflush(stdout);
        if (fork() == 0) {
            close(ends[0]);
            serve(ends[1]);
        }
        close(ends[1]);
        for (unsigned i = 0; i < sizeof messages / sizeof *messages; i++) {
            if (with == 5 && messages[i][0] == 'R')
                continue;
            write(ends[0], messages[i], strlen(messages[i]));
            ssize_t count = read(ends[0], text, sizeof text - 1);
            text[count > 0 ? count : 0] = 0;
            printf("%s\n", text);
        }
        close(ends[0]);
        wait(&status);
        printf("status %x\n", status);
    }
    return 0;
}
