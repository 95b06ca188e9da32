/* The threaded driver: every record is taken by a fresh thread with a small stack, while two other threads keep writing
 * next to, and inside the same words as, the memory that process() writes.  A rollback that restores one byte too many
 * takes a write away from them, which they notice.  The state does not use the allocator here: whose locks are a subject
 * of their own. */
#include "answer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int stop, lost;
static struct item pool[64];
static uint8_t heap[512];

static void *neighbour(void *which) {
    volatile uint64_t *word = which ? &state.neighbour_after : &state.neighbour_before;
    volatile uint8_t *byte = which ? &state.neighbour_right : &state.neighbour_left;
    uint64_t n = 0;
    while (!stop) {
        n++;
        *word = n;
        *byte = (uint8_t)n;
        if (n % 64 == 0) {
            struct timespec pause = {0, 1000};
            nanosleep(&pause, NULL);
        }
        if (*word != n || *byte != (uint8_t)n)
            lost = 1;
    }
    return NULL;
}

static void *one(void *record) {
    char text[512];
    answer(record, text, sizeof text);
    fputs(text, stdout);
    fflush(stdout);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t neighbours[2], worker;
    pthread_attr_t small;
    state.pool = pool;
    state.heap = heap;
    prepare();
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    for (size_t i = 0; i < 2; i++)
        if (pthread_create(&neighbours[i], NULL, neighbour, (void *)i))
            return 2;
    for (int i = 1; i < argc; i++) {
        if (pthread_create(&worker, &small, one, argv[i]))
            return 2;
        pthread_join(worker, NULL);
    }
    stop = 1;
    for (size_t i = 0; i < 2; i++)
        pthread_join(neighbours[i], NULL);
    puts(lost ? "a neighbour lost a write" : "neighbours unharmed");
    return lost;
}
