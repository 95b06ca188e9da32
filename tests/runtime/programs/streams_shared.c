// regions: region held
// faults: 1
// modes: pie
// Streams that several threads write to: lines are whole, what a region has written while it holds the stream goes when it
// faults, and the stream's lock is free.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { THREADS = 4, ROUNDS = 800 };
static volatile int zero;
static FILE *kept, *loose;
__attribute__((noipa)) int held(int id, int round) {
    flockfile(kept);
    fprintf(kept, "thread %d, round %d\n", id, round);
    if (round % 2)
        return round / zero;
    funlockfile(kept);
    return 1;
}
__attribute__((noipa)) int region(int id, int round) { /* others may have seen the line: it may stay */
    fprintf(loose, "thread %d, round %d\n", id, round);
    return round % 2 ? round / zero : 1;
}
static void *thread(void *argument) {
    const int id = (int)(long)argument;
    long refused = 0;
    for (int round = 1; round <= ROUNDS; round++) {
        refused += ORACLE && round % 2 ? 1 : held(id, round) < 0;
        refused += ORACLE && round % 2 ? 1 : region(id, round) < 0;
    }
    return (void *)refused;
}
/* Lines of even rounds in `text`; -1 if a line is torn, or one of a thread's is not behind its last. */
static int lines(char *text, int odd_may_be) {
    int count = 0, last[THREADS] = {0};
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        int id, round, end = 0;
        if (sscanf(line, "thread %d, round %d%n", &id, &round, &end) != 2 || line[end] || round <= last[id])
            return -1;
        if (round % 2 && !odd_may_be)
            return -2;
        last[id] = round;
        count += round % 2 == 0;
    }
    return count;
}
int main(void) {
    pthread_t threads[THREADS];
    static char kept_text[1 << 18], loose_text[1 << 18];
    alarm(20);
    kept = fmemopen(kept_text, sizeof kept_text - 1, "w");
    loose = fmemopen(loose_text, sizeof loose_text - 1, "w");
    setvbuf(kept, malloc(1 << 18), _IOFBF, 1 << 18);
    setvbuf(loose, malloc(1 << 18), _IOFBF, 1 << 18);
    for (long id = 0; id < THREADS; id++)
        pthread_create(&threads[id], NULL, thread, (void *)id);
    for (int id = 0; id < THREADS; id++) {
        void *refused;
        pthread_join(threads[id], &refused);
        printf("%ld refused\n", (long)refused);
    }
    fflush(kept);
    fflush(loose);
    printf("%d %d\n", lines(kept_text, 0), lines(loose_text, 1));
    return 0;
}
