// region: region
// Code that is unmapped while no region runs, and replaced by other code at the same address: never executed stale.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
typedef int (*function)(int);
enum { SIZE = 8192 };
__attribute__((noipa)) int region(function call, int n) { return call(n) + 1; }
static int code_file(int addend) { /* lea eax, [rdi + addend]; ret */
    char name[] = "/tmp/codeXXXXXX", code[SIZE] = {(char)0x8d, 0x47, (char)addend, (char)0xc3};
    int file = mkstemp(name);
    unlink(name);
    return write(file, code, SIZE) == SIZE ? file : -1;
}
int main(void) {
    int files[2] = {code_file(1), code_file(100)};
    void *where = NULL;
    for (int i = 0; i < 6; i++) {
        where = mmap(where, SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | (where ? MAP_FIXED : 0), files[i % 2], 0);
        if (where == MAP_FAILED)
            return 1;
        for (int n = 0; n < 3; n++)
            printf("%d ", region((function)where, n));
        puts("");
        munmap(where, SIZE);
    }
    return 0;
}
