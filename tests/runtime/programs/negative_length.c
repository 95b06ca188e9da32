// region: region
// faults: 1
// A string operation with a negative length runs into the end of memory: what it wrote up to there is undone, and the
// rest of the address space is not looked at.
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
enum { BYTES = 3 << 20 };
static long direction;
__attribute__((noipa)) long region(char *to, long size) {
    if (direction < 0)
        __asm__ volatile("std; rep stosb; cld" : "+D"(to), "+c"(size) : "a"('x') : "memory");
    else
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"('x') : "memory");
    return 1;
}
int main(void) {
    char *all = mmap(NULL, BYTES + (128 << 10), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *memory = all + (64 << 10); /* with nothing on both sides */
    mprotect(memory, BYTES, PROT_READ | PROT_WRITE);
    for (long i = 0; i < BYTES; i++)
        memory[i] = (char)(i * 7);
    static const long sizes[] = {-1, 1L << 46, BYTES + 1, -4096};
    for (int i = 0; i < 8; i++) {
        direction = i & 1 ? -1 : 1;
        char *start = direction > 0 ? memory + 100 : memory + BYTES - 100;
        long result = -1;
        if (!ORACLE)
            result = region(start, sizes[i / 2]);
        unsigned long sum = 0;
        for (long at = 0; at < BYTES; at++)
            sum = sum * 31 + (unsigned char)memory[at];
        printf("%ld %lx\n", result, sum);
    }
    return 0;
}
