// region: region
// faults: 1
// A region takes all memory that there is, on the heap and by mmap, new pieces of code are met with nothing left, and it
// faults: everything is given back, fifty times.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
enum { PIECE = 1 << 20 };
static volatile long zero;
static volatile long pieces, kept;
static int (*volatile compare[])(const char *, const char *) = {strcmp, strcasecmp, strcoll};
__attribute__((noipa)) long region(long n) {
    long found = 0;
    void *last = NULL;
    for (void **piece; (piece = malloc(n % 2 ? PIECE : 100000)); last = piece)
        *piece = last, found++;
    while (mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        found++;
    pieces = found;
    kept = compare[n % 3]("some", "thing") < 0;
    return errno == ENOMEM ? n / zero : n;
}
int main(void) {
    long refused = 0, same = 0;
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    struct rlimit limit = {300 << 20, 300 << 20};
    setrlimit(RLIMIT_AS, &limit);
    for (long i = 0; i < 50; i++) {
        pieces = kept = -i;
        refused += (ORACLE ? -1 : region(i)) == -1;
        same += pieces == -i && kept == -i;
        void *all = malloc(16 << 20); /* there is memory again */
        same += all != NULL;
        free(all);
    }
    printf("refused %ld, %ld\n", refused, same);
    return 0;
}
