// region: region
// Waiting for signals in a region: sigsuspend, sigwait, sigwaitinfo with the queue's order, sigtimedwait, signalfd, pause,
// ppoll, reads that are interrupted or restarted, a wait for a child; and signals that another thread sends to it.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
enum { WAYS = 12 };
static volatile sig_atomic_t got, entered, order[64];
static int pipes[2];
static pthread_t waiter;
volatile long sink;
__attribute__((noipa)) long region(int way);
static void on_signal(int number) {
    got = got * 100 + number;
}
static void feeds(int number) {
    got = got * 100 + number;
    write(pipes[1], "fed", 3);
}
static void enters(int number) {
    got = got * 100 + number;
    entered += region(-1) == 5;
}
static void queued(int number, siginfo_t *info, void *context) {
    order[got++] = (number - SIGRTMIN) * 1000 + info->si_value.sival_int;
}
static void set(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(number, &action, NULL);
}
static void soon(void) { /* once, and again in case it came before the wait */
    struct itimerval timer = {{0, 3000}, {0, 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
}
static void never(void) {
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
}
static void *sender(void *number) {
    for (int i = 0; i < 5; i++) {
        pthread_kill(waiter, (int)(long)number);
        usleep(300);
    }
    return NULL;
}
__attribute__((noipa)) long region(int way) {
    char text[8] = "";
    sigset_t set, none, old;
    siginfo_t info;
    struct timespec second = {5, 0}, brief = {0, 1000000};
    struct signalfd_siginfo from;
    struct pollfd poll = {pipes[0], POLLIN, 0};
    long result = 0;
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGUSR1);
    errno = 0;
    switch (way) {
    case 0:
        sigprocmask(SIG_BLOCK, &set, &old);
        soon();
        result = sigsuspend(&none);
        never();
        result = result * 1000 - errno;
        sigprocmask(SIG_SETMASK, &old, NULL);
        return result;
    case 1: {
        int number = 0;
        sigprocmask(SIG_BLOCK, &set, &old);
        raise(SIGUSR1);
        result = sigwait(&set, &number) * 1000 + number;
        sigprocmask(SIG_SETMASK, &old, NULL);
        return result;
    }
    case 2: /* real-time signals: lowest first, each in the order sent */
        for (int i = 0; i < 6; i++)
            sigaddset(&set, SIGRTMIN + i);
        sigprocmask(SIG_BLOCK, &set, &old);
        for (int i = 0; i < 12; i++)
            sigqueue(getpid(), SIGRTMIN + 5 - i % 6, (union sigval){.sival_int = i});
        for (int i = 0; i < 12; i++) {
            sigwaitinfo(&set, &info);
            result = result * 31 + info.si_signo * 100 + info.si_value.sival_int + info.si_code;
        }
        sigprocmask(SIG_SETMASK, &old, NULL);
        return result;
    case 3:
        sigprocmask(SIG_BLOCK, &set, &old);
        result = sigtimedwait(&set, &info, &brief) * 1000 - errno;
        sigprocmask(SIG_SETMASK, &old, NULL);
        return result;
    case 4: {
        sigprocmask(SIG_BLOCK, &set, &old);
        int fd = signalfd(-1, &set, SFD_CLOEXEC);
        kill(getpid(), SIGUSR1);
        result = read(fd, &from, sizeof from) + from.ssi_signo * 1000 + (from.ssi_pid == getpid());
        close(fd);
        sigprocmask(SIG_SETMASK, &old, NULL);
        return result;
    }
    case 5:
        soon();
        result = pause();
        never();
        return result * 1000 - errno;
    case 6: /* interrupted */
        soon();
        result = read(pipes[0], text, sizeof text);
        never();
        return result * 1000 - errno;
    case 7: /* restarted; the handler writes what it waits for */
        soon();
        result = read(pipes[0], text, 3);
        never();
        while (poll.revents = 0, ppoll(&poll, 1, &(struct timespec){0}, NULL) == 1)
            read(pipes[0], text + 4, 3);
        return result * 1000 + (strcmp(text, "fed") == 0);
    case 8:
        sigprocmask(SIG_BLOCK, &set, &old);
        soon();
        result = ppoll(&poll, 1, &second, &none);
        never();
        result = result * 1000 - errno;
        sigprocmask(SIG_SETMASK, &old, NULL);
        return result;
    case 9: { /* SIGCHLD while waiting for the child */
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(11);
        result = waitpid(child, &status, 0) == child;
        return result * 1000 + WEXITSTATUS(status);
    }
    case 10: { /* another thread's */
        pthread_t made;
        pthread_create(&made, NULL, sender, (void *)SIGUSR1);
        for (long i = 0; i < 300000; i++)
            sink = i;
        pthread_join(made, NULL);
        return 1;
    }
    case 11: /* at once, when unblocked, in order */
        for (int i = 0; i < 6; i++)
            sigaddset(&set, SIGRTMIN + i);
        sigprocmask(SIG_BLOCK, &set, &old);
        for (int i = 0; i < 12; i++)
            sigqueue(getpid(), SIGRTMIN + i % 6, (union sigval){.sival_int = i});
        sigprocmask(SIG_SETMASK, &old, NULL);
        return got;
    default:
        return 5;
    }
}
int main(void) {
    pipe(pipes);
    waiter = pthread_self();
    for (int i = 0; i < 3 * WAYS; i++) {
        const int way = i % WAYS;
        got = 0;
        set(SIGUSR1, on_signal, SA_RESTART);
        set(SIGCHLD, on_signal, SA_RESTART);
        set(SIGALRM, i < WAYS ? on_signal : enters, 0);
        if (way == 7)
            set(SIGALRM, feeds, SA_RESTART);
        struct sigaction real_time = {.sa_sigaction = queued, .sa_flags = SA_SIGINFO};
        for (int k = 0; k < 6; k++) /* each blocks the others: else they nest, the last first */
            for (int other = 0; other < 6; other++)
                sigaddset(&real_time.sa_mask, SIGRTMIN + other);
        for (int k = 0; k < 6; k++)
            sigaction(SIGRTMIN + k, &real_time, NULL);
        long result = region(way);
        if (way == 10)
            got = got != 0;
        if (way == 7 || got >= 100 && way != 11) /* how often the timer came depends */
            got = got % 100;
        printf("%d: %ld, got %d", way, result, (int)got);
        for (int k = 0; way == 11 && k < got; k++)
            printf(" %d", (int)order[k]);
        printf("\n");
    }
    printf("%s\n", entered >= 6 ? "entered by handlers" : "not entered");
    return 0;
}
