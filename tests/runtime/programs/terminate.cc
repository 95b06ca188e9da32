// region: promises uncaught during_unwinding bare
// faults: 1
// Where an exception ends in std::terminate, that is a fault: it is undone and the region returns an error.
#include <cstdio>
#include <cstdlib>
#include <exception>
#define EXPORT extern "C" __attribute__((noipa))
static long writes;
__attribute__((noipa)) static void throws(int n) {
    writes++;
    if (n)
        throw n;
}
__attribute__((noipa)) static void promised(int n) noexcept { throws(n); }
struct Late {
    ~Late() noexcept(false) { throw 2; }
};
EXPORT int promises(int n) {
    writes += 10;
    promised(n);
    return n;
}
EXPORT int uncaught(int n) { /* nobody up to main catches: natively the search ends before anything is unwound */
    writes += 100;
    throws(n);
    return n;
}
EXPORT int during_unwinding(int n) {
    try {
        Late late;
        throws(n);
    } catch (int two) {
        return two;
    }
    return 0;
}
EXPORT int bare(int n) {
    if (n)
        throw; /* nothing to rethrow */
    return 0;
}
static int calls(int (*region)(int), int n) { return ORACLE && n ? -1 : region(n); }
int main() {
    std::set_terminate(std::abort); /* silently */
    for (int round = 0; round < 3; round++) {
        printf("%d %d", calls(promises, 0), calls(promises, 1));
        printf(" %d %d", calls(uncaught, 0), calls(uncaught, 1));
        printf(" %d %d", during_unwinding(0), calls(during_unwinding, 1));
        printf(" %d %d", calls(bare, 0), calls(bare, 1));
        try { /* the machinery is as it was */
            throws(3);
        } catch (int n) {
            printf(" %d %d %ld\n", n, std::uncaught_exceptions(), writes);
        }
    }
    return 0;
}
