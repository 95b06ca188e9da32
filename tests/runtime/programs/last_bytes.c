// region: region
// Code that ends with the last byte of its mapping, where no further byte can be read; and that begins with its first.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
enum { SIZE = 4096 };
typedef long (*function)(long, long);
/* lea rax, [rdi+rsi]; ret   cmp; jne forward; ret   call the first bytes; ret   jump to the first bytes */
static const unsigned char first[] = {0x48, 0x8d, 0x04, 0x37, 0xc3};
static const unsigned char ends[][16] = {
    {5, 0x48, 0x8d, 0x04, 0x37, 0xc3},
    {8, 0x48, 0x89, 0xf8, 0x48, 0x39, 0xf7, 0x75, 0xf8},         /* mov; cmp; jne back: falls off the end if equal */
    {6, 0xe8, 0, 0, 0, 0, 0xc3},                                  /* call first; ret */
    {5, 0xe9, 0, 0, 0, 0},                                        /* jmp first */
    {9, 0x48, 0x31, 0xc0, 0x48, 0xff, 0xc0, 0xff, 0xe2, 0},       /* … jmp rdx: argument three */
};
__attribute__((noipa)) long region(long (*call)(long, long, function), long a, long b, function third) { return call(a, b, third) + 1; }
int main(void) {
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
        unsigned char code[SIZE], *end = code + SIZE;
        char name[] = "/tmp/codeXXXXXX";
        int file = mkstemp(name), size = ends[i][0];
        unlink(name);
        memset(code, 0x90, SIZE);
        memcpy(code, first, sizeof first);
        if (i == 4)
            size = 8;
        memcpy(end - size, ends[i] + 1, size);
        if (i == 2 || i == 3) {
            int away = -SIZE + (i == 2);
            memcpy(end - (i == 2 ? 5 : 4), &away, 4);
        }
        write(file, code, SIZE);
        /* with pages around it that are not there */
        char *room = mmap(NULL, 3 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        char *page = mmap(room + SIZE, SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0);
        if (i == 1) /* the branch is not taken only where the next page would be needed */
            continue;
        for (long n = 0; n < 4; n++)
            printf("%ld ", region((void *)(page + SIZE - size), n, 10, (function)page));
    }
    return puts("") < 0;
}
