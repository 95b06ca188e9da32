// Dies of a fault outside every region, after it has been in some; in the way that the first argument names.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static volatile int zero;
volatile long sink;
static const char *way;
extern char fault_end[];
__attribute__((noipa)) long region(long n, int faults) {
    long sum = 0;
    for (long i = 0; n < 0 || i < n; i++)
        sink = sum += i;
    return faults ? sum / zero : sum;
}
#define DIE(name, instructions)                                                                                        \
    void name(void);                                                                                                   \
    __asm__(".text\n" #name ": mov $0x1111, %ebx\n mov $0x2222, %ecx\n mov $0x3333, %edx\n mov $0x4444, %esi\n"        \
            "mov $0x5555, %edi\n mov $0x6666, %ebp\n mov $0x7777, %r8d\n mov $0x8888, %r9d\n mov $0x9999, %r10d\n"     \
            "mov $0xaaaa, %r11d\n mov $0xbbbb, %r12d\n mov $0xcccc, %r13d\n mov $0xdddd, %r14d\n mov $0xeeee, %r15d\n" \
            "mov $0xffff, %eax\n stc\n std\n" instructions "\n nop\n ret")
DIE(load, "mov 8, %rax");
DIE(store, "mov %rcx, 4096");
DIE(divide, "mov $0, %ecx\n div %ecx");
DIE(undefined, "ud2");
DIE(trap, "int3\n ud2");
DIE(privileged, "hlt");
DIE(wild, "jmp *%rcx");
DIE(stack, "mov $8, %rsp\n push %rax");
DIE(bad_call, "mov $0, %esp\n call load");
static const struct {
    const char *name;
    void (*die)(void);
} functions[] = {{"load", load},   {"store", store},           {"divide", divide}, {"undefined", undefined},
                 {"trap", trap},   {"privileged", privileged}, {"wild", wild},     {"stack", stack},
                 {"call", bad_call}};
static void die(const char *name) {
    for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!strcmp(functions[i].name, name))
            functions[i].die();
}
static void resets(int number) {
    signal(number, SIG_DFL); /* and runs into it again */
}
static void raises(int number) {
    signal(number, SIG_DFL);
    raise(number);
}
static void nothing(int number) {
}
static void *thread(void *name) {
    region(10, 0);
    die(name);
    return NULL;
}
int main(int argc, char **argv) {
    way = argv[1];
    region(100, 0);
    if (argc > 3)
        region(100, 1); /* one that is rescued */
    if (!strcmp(argv[2], "thread")) {
        pthread_t made;
        pthread_create(&made, NULL, thread, argv[1]);
        pthread_join(made, NULL);
    }
    for (int number = 1; number < 32; number++)
        if (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL || number == SIGTRAP) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, number);
            if (!strcmp(argv[2], "reset"))
                signal(number, resets);
            if (!strcmp(argv[2], "raise"))
                signal(number, raises);
            if (!strcmp(argv[2], "ignored"))
                signal(number, SIG_IGN);
            if (!strcmp(argv[2], "blocked"))
                sigprocmask(SIG_BLOCK, &set, NULL);
            if (!strcmp(argv[2], "onstack")) { /* a signal stack that is not there: the kernel kills */
                struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_ONSTACK};
                stack_t alternate = {.ss_sp = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                                     .ss_size = 65536};
                sigaltstack(&alternate, NULL);
                sigaction(number, &action, NULL);
            }
        }
    region(100, 0);
    if (!strcmp(way, "abort"))
        abort();
    if (!strncmp(way, "raise", 5))
        raise(atoi(way + 5));
    if (!strcmp(way, "inside")) {
        write(1, ".", 1);
        region(-1, 0);
    }
    die(way);
    return 0;
}
