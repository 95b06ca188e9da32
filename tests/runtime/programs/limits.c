// regions: region tree
// faults: 1
// Under every resource limit, set before the program starts or after its first region: regions run, in new threads too
// where those can be had, and faults are undone.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
static const struct {
    const char *name;
    int resource;
    long value;
} limits[] = {
    {"address space", RLIMIT_AS, 64 << 20},
    {"data", RLIMIT_DATA, 64 << 20},
    {"processes", RLIMIT_NPROC, 0},
    {"stack", RLIMIT_STACK, 128 << 10},
    {"descriptors", RLIMIT_NOFILE, 4},
    {"no descriptors", RLIMIT_NOFILE, 0},
    {"pending signals", RLIMIT_SIGPENDING, 0},
    {"locked memory", RLIMIT_MEMLOCK, 0},
    {"message queues", RLIMIT_MSGQUEUE, 0},
    {"real-time priority", RLIMIT_RTPRIO, 0},
};
enum { LIMITS = sizeof limits / sizeof *limits };
static volatile long zero;
static volatile int memory[100];
static int compare(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}
__attribute__((noipa)) long region(long n) {
    int numbers[50];
    for (int i = 0; i < 50; i++)
        numbers[i] = memory[i] = (int)(n * 7919 + i * 104729) % 1000;
    qsort(numbers, 50, sizeof *numbers, compare);
    return n % 2 ? numbers[25] / zero : numbers[25];
}
__attribute__((noipa)) long tree(long n) {
    volatile char frame[100];
    frame[n % 100] = 1;
    return n < 2 ? n : tree(n - 1) + tree(n - 2) * frame[n % 100];
}
static long work(void) {
    long sum = 0;
    for (long i = 0; i < 20; i++) {
        memory[7] = (int)-i;
        sum += ORACLE && i % 2 ? -1 : region(i);
        sum += i % 2 && memory[7] != -i ? 1000000 : 0;
    }
    return sum + tree(12);
}
static void *thread(void *unused) {
    return (void *)work();
}
static long work_threads(void) {
    pthread_t thread_id;
    void *result = NULL;
    const int failed = pthread_create(&thread_id, NULL, thread, NULL);
    if (!failed)
        pthread_join(thread_id, &result);
    return failed ? -2 : (long)result;
}
static int report(const char *name) {
    const long alone = work(), beside = work_threads();
    printf("%s: %ld, %ld\n", name, alone, beside == -2 ? alone : beside); /* root may always start a thread */
    fflush(stdout);
    return 0;
}
static void set(int i) {
    struct rlimit limit = {limits[i].value, limits[i].value};
    if (setrlimit(limits[i].resource, &limit))
        perror(limits[i].name);
}
int main(int argc, char **argv) {
    if (argc > 1)
        return report(argv[1]);
    int bad = 0;
    for (int i = 0; i < LIMITS; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) { /* a process that has it from the start; no descriptors: no loader either */
            if (limits[i].value == 0 && limits[i].resource == RLIMIT_NOFILE)
                _exit(0);
            set(i);
            execv("/proc/self/exe", (char *[]){argv[0], (char *)limits[i].name, NULL});
            _exit(1);
        }
        waitpid(child, &status, 0);
        bad |= status;
        if (status)
            printf("started with %s: status %x\n", limits[i].name, status);
    }
    fflush(stdout);
    region(0); /* even: no fault */
    for (int i = 0; i < LIMITS; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            if (limits[i].resource != RLIMIT_AS && limits[i].resource != RLIMIT_DATA) /* already above */
                set(i);
            _exit(report(limits[i].name));
        }
        waitpid(child, &status, 0);
        bad |= status;
        if (status)
            printf("%s: status %x\n", limits[i].name, status);
    }
    return bad != 0;
}
