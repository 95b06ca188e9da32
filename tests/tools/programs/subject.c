/* Functions for debuggers and profilers to look at.  Regions: quotient, through, wait_inside, spin, interrupted, trace and
 * forks; helper and crash are none. */
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "subject.h"

#define FUNCTION __attribute__((noinline, noclone))

volatile int counter;
int *volatile nowhere;

FUNCTION int quotient(int dividend, int divisor)
{
    char text[32];
    snprintf(text, sizeof text, "%d/%d", dividend, divisor);
    counter += (int)strlen(text);
    return dividend / divisor;
}

FUNCTION int helper(int value)
{
    counter += value;
    return value * 2;
}

FUNCTION int through(int value)
{
    int kept[4] = {value, value + 1, value + 2, value + 3};
    int result = helper(kept[counter & 3]);
    return result + kept[counter & 1];
}

FUNCTION int wait_inside(void)
{
    char byte = 0;
    long count = read(0, &byte, 1);
    counter = byte;
    return (int)count + 40;
}

FUNCTION long spin(long count)
{
    long sum = 0;
    for (long i = 0; i < count; i++) {
        sum += i ^ (sum >> 3);
        counter = (int)sum;
    }
    return sum;
}

FUNCTION int crash(void)
{
    counter = 1;
    return *nowhere + 1;
}

FUNCTION int interrupted(void)
{
    counter = 7;
    raise(SIGUSR1);
    return counter;
}

FUNCTION int trace(void)
{
    void *frames[32];
    int count = backtrace(frames, 32);
    backtrace_symbols_fd(frames, count < 3 ? count : 3, 1);
    return count;
}

FUNCTION int forks(void)
{
    fflush(NULL);
    int child = fork();
    if (child == 0) {
        spin(2000);
        dprintf(1, "child %d\n", getpid());
        _exit(helper(3));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}
