// region: region
// Asynchronous signals while in a region: handlers run, may call the region themselves, and return.
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
static volatile sig_atomic_t ticks;
volatile long sink;
__attribute__((noipa)) long region(long n) {
    long sum = 0;
    for (long i = 0; i < n; i++) {
        sink = i;
        sum += i ^ (sum >> 3);
    }
    return sum;
}
static void on_alarm(int number) {
    (void)number;
    if (region(10) != 50)
        ticks = -1000000;
    ticks++;
}
int main(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    printf("%ld\n", region(10));
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    long sum = 0;
    while (ticks >= 0 && ticks < 40)
        sum = region(100000);
    printf("%ld %s\n", sum, ticks >= 40 ? "ticked" : "wrong");
    return 0;
}
