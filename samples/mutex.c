/* Faults while it holds a lock: whoever comes next must not wait for ever. */
#include "sample.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void prepare(void) {}

int process(const char *record) {
    if (!*record)
        return REFUSED;
    pthread_mutex_lock(&lock);
    note(record);
    const volatile int *word = opaque(is_bad(record) ? NULL : &state.last);
    int low = *word & 1;
    pthread_mutex_unlock(&lock);
    return value_of(record) + low;
}
