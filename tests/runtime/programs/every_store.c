// region: region
// faults: 1
// Stores of every form, then a fault: not one byte that the program can see is left changed.
#define _GNU_SOURCE
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
enum { SIZE = 1 << 16 };
static uint8_t global[SIZE] __attribute__((aligned(64)));
static _Thread_local uint8_t local[4096] __attribute__((aligned(64)));
static uint8_t *heap, *mapped, *copies[4];
static uint64_t random_state = 88172645463325252ull;
static uint64_t next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}
static uint8_t *place(void) {
    uint64_t r = next();
    uint8_t *bases[4] = {global, heap, mapped, local};
    size_t sizes[4] = {SIZE, SIZE, SIZE, sizeof local};
    unsigned which = r & 3;
    return bases[which] + (r >> 8) % (sizes[which] - 600);
}
static void store(unsigned form) {
    uint8_t *at = place();
    uint64_t value = next();
    long count = 37;
    uint8_t *to = at, *from = global;
    switch (form) {
    case 0: *(volatile uint8_t *)at = (uint8_t)value; break;
    case 1: *(volatile uint16_t *)at = (uint16_t)value; break;
    case 2: *(volatile uint32_t *)at = (uint32_t)value; break;
    case 3: *(volatile uint64_t *)at = value; break;
    case 4: _mm_storeu_si128((__m128i *)at, _mm_set1_epi64x((long)value)); break;
    case 5: __asm__ volatile("movq %1, %%mm0; movq %%mm0, (%0); emms" ::"r"(at), "r"(value) : "mm0", "memory"); break;
    case 6: __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory"); break;
    case 7: __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory"); break;
    case 8:
        to += 300;
        from += 300;
        __asm__ volatile("std; rep movsb; cld" : "+D"(to), "+S"(from), "+c"(count)::"memory");
        break;
    case 9: __asm__ volatile("stosw" : "+D"(to) : "a"(value) : "memory"); break;
    case 10: __asm__ volatile("btsq %1, (%0)" ::"r"(at), "r"(value % 2048) : "memory", "cc"); break;
    case 11: __asm__ volatile("lock xaddq %1, (%0)" ::"r"(at), "r"(value) : "memory", "cc"); break;
    case 12: __asm__ volatile("xchgq %1, (%0)" ::"r"(at), "r"(value) : "memory"); break;
    case 13: __asm__ volatile("lock cmpxchg16b (%0)" ::"r"((uintptr_t)at & ~15ul), "a"(1), "d"(2), "b"(3), "c"(4) : "memory", "cc"); break;
    case 14: __asm__ volatile("push %1; pop (%0)" ::"r"(at), "r"(value) : "memory"); break;
    case 15: __asm__ volatile("fxsave64 (%0)" ::"r"((uintptr_t)at & ~15ul) : "memory"); break;
    case 16: __asm__ volatile("maskmovdqu %%xmm0, %%xmm0" ::"D"(at) : "memory"); break;
    case 17: __asm__ volatile("fldpi; fstpt (%0)" ::"r"(at) : "memory"); break;
    case 18: __asm__ volatile("incl (%0); notq 8(%0); sarb $1, 20(%0); setz 30(%0)" ::"r"(at) : "memory", "cc"); break;
    case 19: __asm__ volatile("cmp %1, %0; movb $7, (%0); ja 1f; movb $9, 1(%0); 1:" ::"r"(at), "r"(value) : "memory", "cc"); break;
    case 20: __asm__ volatile("stmxcsr (%0); fnstcw 8(%0); movnti %1, 16(%0)" ::"r"(at), "r"(value) : "memory"); break;
    case 21: local[value & 4095] = (uint8_t)value; break;
    case 22: memmove(at, at + 17, 300); break;
    case 23: snprintf((char *)at, 100, "%lx", (unsigned long)value); break;
    case 24: if (pread(*(int *)mapped, at, 200, 0) < 0) abort(); break;
    case 25: if (getcwd((char *)at, 200) == NULL) abort(); break;
    case 26: __asm__ volatile("movb %b1, %%fs:(%0)" ::"r"((uintptr_t)&local[value & 4095] - (uintptr_t)__builtin_thread_pointer()), "q"(value) : "memory"); break;
    }
}
enum { FORMS = 27 };
__attribute__((noipa)) int region(unsigned form, volatile int *bad) {
    for (int i = 0; i < 40; i++)
        store(form < FORMS ? form : (unsigned)(next() % FORMS));
    return *bad;
}
int main(int argc, char **argv) {
    (void)argc;
    heap = malloc(SIZE);
    mapped = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *self = fopen(argv[0], "r");
    uint8_t *areas[4] = {global, heap, mapped, local};
    size_t sizes[4] = {SIZE, SIZE, SIZE, sizeof local};
    for (int a = 0; a < 4; a++) {
        copies[a] = malloc(sizes[a]);
        for (size_t i = 0; i < sizes[a]; i++)
            areas[a][i] = (uint8_t)next();
    }
    *(int *)mapped = fileno(self);
    for (unsigned form = 0; form < FORMS + 20; form++) {
        uint64_t before = random_state;
        for (int a = 0; a < 4; a++)
            memcpy(copies[a], areas[a], sizes[a]);
        int result = ORACLE ? -1 : region(form, NULL);
        long wrong = random_state != before;
        for (int a = 0; a < 4; a++)
            for (size_t i = 0; i < sizes[a]; i++)
                wrong += copies[a][i] != areas[a][i];
        printf("form %u: returned %d, %ld bytes wrong\n", form, result, wrong);
    }
    return 0;
}
