// region: scatters direct enters bases
// faults: 1
// Stores whose addresses no one operand says: scatters (each element under its mask, at any index, width and scale), a
// store of 64 bytes through a register, enter's frames; and reading the bases of segments.  Carried, and undone.
#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#define AVX512 __attribute__((noipa, target("avx512f,avx512vl")))
static volatile int zero;
static int32_t words[4096] __attribute__((aligned(64)));
static int64_t quads[4096] __attribute__((aligned(64)));
static int fault(int fails) { return fails ? 1000 / zero : 0; }
AVX512 long scatters(int way, int fails) {
    const int32_t at[16] = {0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 1200, 1300, 1400, -7};
    __m512i index = _mm512_loadu_si512(at), value = _mm512_set1_epi32(way + 100);
    __m512i wide = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(index));
    int32_t *word = words + 1000;
    int64_t *quad = quads + 1000;
    const __mmask16 mask = 0x8a51;
    switch (way) {
    case 0:
        _mm512_i32scatter_epi32(word, index, value, 4);
        break;
    case 1:
        _mm512_mask_i32scatter_epi32(word, mask, index, value, 4);
        break;
    case 2:
        _mm512_mask_i32scatter_epi64(quad, 0xa5, _mm512_castsi512_si256(index), value, 8);
        break;
    case 3:
        _mm512_mask_i64scatter_epi32(word, 0xa5, wide, _mm512_castsi512_si256(value), 4);
        break;
    case 4:
        _mm512_i64scatter_epi64(quad, wide, value, 8);
        break;
    case 5:
        _mm256_mask_i32scatter_epi32((char *)word + 1, 0x81, _mm512_castsi512_si256(index), _mm512_castsi512_si256(value), 2);
        break;
    case 6:
        _mm_mask_i64scatter_epi64(quad, 2, _mm512_castsi512_si128(wide), _mm512_castsi512_si128(value), 1);
        break;
    case 7:
        _mm512_mask_i32scatter_ps((float *)word, mask, index, _mm512_set1_ps(3), 4);
        break;
    case 8: /* a high register as index, a displacement, no base */
        __asm__ volatile("vmovdqa64 %1, %%zmm29\n kmovw %2, %%k5\n vpscatterdq %0, 64(%3, %%ymm29, 8) %{%%k5%}"
                         : : "v"(value), "v"(index), "r"(0x18), "r"(quad) : "memory", "xmm29", "k5");
        break;
    }
    return fault(fails) + 1;
}
AVX512 long direct(void *to, const void *from, int fails) {
    __asm__ volatile("movdir64b (%1), %0" : : "r"(to), "r"(from) : "memory");
    return fault(fails) + 2;
}
__attribute__((noipa)) long enters(long *kept, int fails) { /* its own frame, and a chain of three */
    long result;
    __asm__ volatile("enter $32, $0\n movq $7, -8(%%rbp)\n enter $64, $3\n mov -8(%%rbp), %0\n leave\n"
                     " mov -8(%%rbp), %0\n leave\n" : "=r"(result) : : "memory");
    kept[0] += result;
    return fault(fails) + result;
}
__attribute__((noipa)) long bases(long *kept, int fails) {
    long fs, self, gs;
    int low, xlat;
    static const char table[] = "abcdefgh";
    __asm__("rdfsbase %0\n mov %%fs:0, %1\n rdgsbase %2\n rdgsbase %k3" : "=r"(fs), "=r"(self), "=r"(gs), "=r"(low));
    __asm__("xlat" : "=a"(xlat) : "a"(5), "b"(table));
    kept[0] += xlat;
    return (fs == self) * 10 + (gs == 0) * 100 + (low == 0) * 1000 + fault(fails) + xlat;
}
static void show(long result, long kept) {
    long total = 0;
    for (int i = 0; i < 4096; i++)
        total = total * 31 + words[i] + quads[i] * 7;
    printf("%ld %ld %lx\n", result, kept, total);
}
int main(void) {
    unsigned a, b = 0, c = 0, d;
    char from[64];
    long kept = 1;
    for (int i = 0; i < 64; i++)
        from[i] = (char)i;
    __cpuid_count(7, 0, a, b, c, d);
    for (int round = 0; round < 2; round++) {
        for (int way = 0; way < 9 && b >> 16 & 1 && b >> 31 & 1; way++) {
            show(ORACLE ? -1 : scatters(way, 1), kept);
            show(scatters(way, 0), kept);
        }
        if (c >> 28 & 1) {
            show(ORACLE ? -1 : direct(words + 512, from, 1), kept);
            show(direct(words + 512, from, 0), kept);
        }
        show(ORACLE ? -1 : enters(&kept, 1), kept);
        show(enters(&kept, 0), kept);
        show(ORACLE ? -1 : bases(&kept, 1), kept);
        show(bases(&kept, 0), kept);
    }
    return 0;
}
