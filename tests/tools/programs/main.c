#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "subject.h"

void on_signal(int signal)
{
    counter += signal;
}

__attribute__((noinline, noclone)) int middle(int value)
{
    int first = quotient(value, 2);
    counter = first;
    int second = through(first);
    return first + second;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "calls";
    signal(SIGUSR1, on_signal);
    printf("%d\n", middle(84));
    fflush(stdout);
    if (strcmp(what, "crash") == 0)
        printf("%d\n", crash());
    if (strcmp(what, "wait") == 0)
        printf("%d\n", wait_inside());
    if (strcmp(what, "late") == 0) {
        char byte;
        long count = read(0, &byte, 1);
        printf("%d\n", quotient(100, (int)count));
    }
    if (strcmp(what, "spin") == 0)
        printf("%ld\n", spin(atol(argv[2])));
    if (strcmp(what, "signal") == 0)
        printf("%d\n", interrupted());
    if (strcmp(what, "trace") == 0)
        printf("%d\n", trace() > 2);
    if (strcmp(what, "fork") == 0)
        printf("%d\n", forks());
    if (strcmp(what, "divide") == 0)
        printf("%d\n", quotient(1, argc - 2));
    if (strcmp(what, "pid") == 0)
        printf("%d\n", getpid());
    return 0;
}
