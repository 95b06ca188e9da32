// region: region
// Twenty thousand threads, one after the other and in small groups, each enter a region: contexts are used again,
// mappings and memory do not grow.
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
enum { THREADS = 20000, GROUP = 16, WARM = 800 };
static long sums[GROUP];
static pthread_barrier_t all;
__attribute__((noipa)) int region(long id) {
    volatile char local[2000];
    memset((char *)local, (int)id, sizeof local);
    sums[id % GROUP] += id;
    return local[id % 2000];
}
static void *thread(void *id) {
    region((long)id);
    pthread_barrier_wait(&all); /* as many at once in every group, however busy the machine is */
    return NULL;
}
static long count(const char *path, int lines) {
    char text[4096];
    long found = 0, pages = 0;
    FILE *file = fopen(path, "r");
    if (!lines && fscanf(file, "%*d %ld", &pages) != 1)
        pages = -1;
    while (lines && fgets(text, sizeof text, file))
        found++;
    fclose(file);
    return lines ? found : pages;
}
int main(void) {
    long mappings = 0, pages = 0;
    pthread_barrier_init(&all, NULL, GROUP);
    for (long i = 0; i < THREADS; i += GROUP) {
        pthread_t threads[GROUP];
        for (long k = 0; k < GROUP; k++)
            pthread_create(&threads[k], NULL, thread, (void *)(i + k));
        for (int k = 0; k < GROUP; k++)
            pthread_join(threads[k], NULL);
        if (i == WARM / GROUP * GROUP) {
            mappings = count("/proc/self/maps", 1);
            pages = count("/proc/self/statm", 0);
        }
    }
    mappings = count("/proc/self/maps", 1) - mappings;
    pages = count("/proc/self/statm", 0) - pages;
    printf("%ld %ld %ld %ld\n", sums[0], sums[1], sums[2], sums[GROUP - 1]);
    printf("%s, %s\n", mappings < 200 ? "mappings stay" : "mappings grow", pages < 4000 ? "memory stays" : "memory grows");
    return 0;
}
