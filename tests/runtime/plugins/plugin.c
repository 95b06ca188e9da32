// A plugin whose region faults.  See host.c.
#include <stdlib.h>

int calls;

__attribute__((noinline)) int work(volatile int *where, int value) {
    calls++;
    *where = value;
    return calls;
}

__attribute__((noinline)) void *used_by_thread(void *plugin_counter) {
    static int private_to_thread;
    work(&private_to_thread, 1);
    return plugin_counter;
}

__attribute__((noinline)) void interrupted(int (*raise)(int), int signal) {
    raise(signal);
    calls++;
}
