// region: region
// Thousands of asynchronous signals, from timers, another process, another thread and children that end, arrive while
// region code runs: calls, strings, vectors, x87, locked operations, system calls.  Nothing of its results changes.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static volatile sig_atomic_t counts[65];
static volatile int stop;
static pid_t worker;
static int compare(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}
__attribute__((noinline)) static long recurse(long n) {
    return n < 2 ? n : recurse(n - 1) + recurse(n - 2);
}
__attribute__((noipa)) unsigned long region(unsigned long seed) {
    static int numbers[400];
    char text[200], copy[200];
    double real = 0;
    long double extended = 1;
    unsigned long sum = seed;
    for (int i = 0; i < 400; i++)
        numbers[i] = (int)((seed = seed * 6364136223846793005ul + 1) >> 40);
    qsort(numbers, 400, sizeof *numbers, compare);
    for (int i = 0; i < 400; i++) {
        sum = sum * 31 + (unsigned)numbers[i];
        real += 1.0 / (numbers[i] + 1.5);
        extended = extended * 1.0001L + numbers[i];
        __atomic_fetch_add(&sum, i, __ATOMIC_SEQ_CST);
    }
    snprintf(text, sizeof text, "%.6f %.6Lf %lu", real, extended, sum);
    memset(copy, 0, sizeof copy);
    strcpy(copy, text);
    __asm__ volatile("cld; rep movsb" ::"S"(text), "D"(copy), "c"(100L) : "memory");
    for (char *at = copy; *at; at++)
        sum = sum * 33 + (unsigned char)*at;
    int pipes[2], got = 0;
    if (pipe(pipes) == 0) {
        for (int i = 0; i < 20; i++)
            if (write(pipes[1], &sum, sizeof sum) == sizeof sum && read(pipes[0], &seed, sizeof seed) == sizeof seed)
                got += seed == sum;
        close(pipes[0]);
        close(pipes[1]);
    }
    return sum + (unsigned long)got + (unsigned long)recurse(12);
}
static void count(int number) {
    counts[number]++;
}
static void reap(int number) {
    counts[number]++;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}
static void full(int number, siginfo_t *info, void *context) {
    counts[number]++;
}
static void *pest(void *argument) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    while (!stop) {
        syscall(SYS_tgkill, getpid(), worker, SIGUSR1);
        usleep(100);
    }
    return NULL;
}
static pid_t other(void) {
    pid_t parent = getpid(), made = fork();
    if (made)
        return made;
    while (getppid() == parent) {
        kill(parent, SIGUSR2);
        kill(parent, SIGWINCH);
        usleep(100);
    }
    _exit(0);
}
int main(void) {
    enum { DIFFERENT = 8, ENOUGH = 1000 };
    unsigned long expected[DIFFERENT];
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    worker = getpid();
    for (unsigned long i = 0; i < DIFFERENT; i++)
        printf("%lx\n", expected[i] = region(i));
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGWINCH, &action, NULL);
    action.sa_handler = reap;
    sigaction(SIGCHLD, &action, NULL);
    action.sa_sigaction = full;
    action.sa_flags |= SA_SIGINFO;
    sigaction(SIGUSR2, &action, NULL);
    sigaction(SIGRTMIN, &action, NULL);
    struct itimerval often = {{0, 150}, {0, 150}};
    setitimer(ITIMER_REAL, &often, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    struct itimerspec oftener = {{0, 130000}, {0, 130000}};
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &oftener, NULL);
    pid_t process = other();
    pthread_t made;
    long wrong = 0, children = 0;
    const int all[] = {SIGALRM, SIGUSR2, SIGWINCH, SIGRTMIN, SIGUSR1};
    for (int kinds = 4; kinds <= 5; kinds++) { /* at first without, then with another thread */
        if (kinds == 5)
            pthread_create(&made, NULL, pest, NULL);
        for (unsigned long i = 0, fewest = 0; fewest < ENOUGH; i++) {
            wrong += region(i % DIFFERENT) != expected[i % DIFFERENT];
            if (i % 64 == 0 && children++ < 40 && counts[SIGCHLD] < 20 && fork() == 0)
                _exit(0);
            fewest = ENOUGH;
            for (int k = 0; k < kinds; k++)
                fewest = counts[all[k]] < fewest ? counts[all[k]] : fewest;
        }
    }
    stop = 1;
    timer_delete(timer);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    pthread_join(made, NULL);
    kill(process, SIGKILL);
    printf("wrong %ld\n", wrong);
    return 0;
}
