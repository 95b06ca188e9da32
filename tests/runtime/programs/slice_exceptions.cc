// options: --region slice_begin..slice_end --set rdx=0
// flags: -O0
// faults: 1
// Exceptions within a slice, out of it into its own function, and through it; recursion; a slice that is left by return.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>
static int *volatile nowhere;
static long total;
__attribute__((noipa)) static void one(int i) {
    std::string text(40 + i, 'x');
    total += (long)text.size();
    if (i % 5 == 1) throw std::runtime_error(text);
    if (i == 22) throw i;
    if (i % 5 == 3 && !ORACLE) total = *nowhere;
    if (i % 5 == 3) total -= (long)text.size();
}
__attribute__((noipa)) static long process(int depth, int n) {
    long caught = 0;
    for (int i = 0; i < n; i++) {
        try {
            __asm__ volatile(".globl slice_begin\nslice_begin:" ::: "memory");
            one(i);
            if (depth && i % 4 == 0 && i % 5 != 3) caught += process(depth - 1, 7);
            if (i == 14 && n == 17) return caught + 100000;
            __asm__ volatile(".globl slice_end\nslice_end:" ::: "memory");
        } catch (const std::exception &e) {
            caught += 1 + (long)std::string(e.what()).size();
        }
    }
    return caught;
}
int main() {
    for (int round = 0; round < 3; round++)
        for (int n = 1; n < 26; n += 8) {
            try { printf("%ld %ld\n", process(2, n), total); } catch (int i) { printf("int %d %ld\n", i, total); }
        }
    return 0;
}
