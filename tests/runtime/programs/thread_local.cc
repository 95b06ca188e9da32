// region: touch ends
// faults: 1
// Thread-local objects of C++, made at their first use in a region: a rollback unmakes them, and destructors run once for
// each that was made, on a thread that leaves its function and on one that ends inside a region.
#include <cstdio>
#include <pthread.h>
#include <string>
#include <vector>
static volatile int zero;
static int fault(int fails) { return fails ? 100 / zero : 0; }
static int made, gone;
struct Counted {
    std::string name;
    Counted(const char *n) : name(n) { made++; }
    ~Counted() { gone++; }
};
static thread_local Counted first("first, and long enough to lie on the heap");
static thread_local std::vector<Counted> more;
extern "C" __attribute__((noipa)) long touch(int n, int fails) {
    first.name += 'x';
    if (n & 1)
        more.emplace_back("another one, which is long enough too");
    return (long)(first.name.size() * 100 + more.size()) + fault(fails);
}
extern "C" __attribute__((noipa)) long ends(int n) {
    first.name += 'y';
    pthread_exit((void *)first.name.size());
}
static void *thread(void *way) {
    static char line[200];
    char *at = line;
    const bool alone = (long)way & 8; /* a fault behind an allocation, while others live, is not undone yet */
    if (alone) /* the first use faults: it has not been made */
        at += sprintf(at, "%ld %d ", ORACLE ? -1L : touch(1, 1), made);
    if ((long)way & 4)
        ends(1);
    for (int n = 0; n < 4; n++)
        at += sprintf(at, "%ld ", touch(n, 0));
    if (alone)
        at += sprintf(at, "%ld ", ORACLE ? -1L : touch(1, 1));
    sprintf(at, "%ld", touch(0, 0));
    puts(line);
    return nullptr;
}
int main() {
    thread((void *)8);
    for (long way = 0; way < 6; way++) {
        pthread_t started;
        void *result;
        pthread_create(&started, nullptr, thread, (void *)way);
        pthread_join(started, &result);
        printf("%ld: %d %d\n", (long)result, made, gone);
    }
    thread((void *)1);
    printf("%d %d\n", made, gone);
    return 0;
}
