// region: sums text structure big wide vectors vectors512 masks complexes many nothing
// carried: 1
// Arguments and results of every kind reach a region, come back from it, and pass through nested ones: variable ones,
// structures in memory and in registers, long double, 128 bits, vectors of 256 and 512 bits, and flags of al.
#include <complex.h>
#include <immintrin.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
typedef long double real;
struct small { double a; long b; };
struct large { long a[9]; double b; };
#define NOIPA __attribute__((noipa))
static int depth; /* each region calls itself once: nested marks between caller and callee */
NOIPA real sums(int count, ...) {
    va_list list;
    real sum = 0;
    va_start(list, count);
    for (int i = 0; i < count; i++)
        sum += i % 3 == 0 ? va_arg(list, int) : i % 3 == 1 ? va_arg(list, double) : va_arg(list, real);
    va_end(list);
    return depth++ % 2 ? sum : sums(3, 1, 2.5, sum);
}
NOIPA int text(char *to, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int size = vsprintf(to, format, list);
    va_end(list);
    return size;
}
NOIPA struct large structure(struct large in, struct small by, long n) {
    in.a[n % 9] += by.b;
    in.b *= by.a;
    return n ? structure(in, (struct small){by.a + 1, by.b * 2}, n - 1) : in;
}
NOIPA __int128 big(__int128 a, unsigned __int128 b, long n) { return n ? big(a * 3, b / 7, n - 1) - 1 : a + (__int128)b; }
NOIPA struct small wide(struct small in, long n) { return n ? wide((struct small){in.a / 2, in.b + n}, n - 1) : in; }
NOIPA __attribute__((target("avx2"))) __m256i vectors(__m256i a, __m256i b, long n) {
    __m256i sum = _mm256_add_epi64(a, b);
    return n ? _mm256_sub_epi64(vectors(sum, a, n - 1), b) : sum;
}
NOIPA __attribute__((target("avx512f"))) __m512i vectors512(__m512i a, __m512i b, long n) {
    __m512i sum = _mm512_add_epi64(a, b);
    return n ? _mm512_sub_epi64(vectors512(sum, a, n - 1), b) : sum;
}
NOIPA __attribute__((target("avx512f"))) __mmask16 masks(__mmask16 a, __m512i b, long n) { /* and in mask registers */
    __mmask16 more = _mm512_cmpgt_epi32_mask(b, _mm512_set1_epi32((int)n));
    return n ? masks(a ^ more, _mm512_add_epi32(b, b), n - 1) ^ more : a | more;
}
NOIPA complex long double complexes(complex long double a, complex float b, complex double c, long n) {
    return n ? complexes(a * b, b + 1, c - I, n - 1) + c : a + b * c;
}
NOIPA long many(long a, long b, long c, long d, long e, long f, long g, double x, double y, char h, short i, float z,
                long j, real k, int l) {
    long sum = a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * l;
    sum += (long)(x * 100 + y * 1000 + z * 10000 + k * 7);
    return depth++ % 2 ? sum : many(b, c, d, e, f, g, a, y, x, (char)i, h, z + 1, j + 1, k * 2, l) - sum;
}
NOIPA void nothing(void) { depth++; }
static long fold(const void *data, size_t size) {
    long sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + ((const unsigned char *)data)[i];
    return sum;
}
static __attribute__((target("avx2"))) void show256(int n) {
    __m256i a = _mm256_setr_epi64x(1, 2 + n, 3, 4), r = vectors(a, _mm256_setr_epi64x(10, 20, 30, 40 + n), n);
    printf("%lx ", fold(&r, sizeof r));
}
static __attribute__((target("avx512f"))) void show512(int n) {
    __m512i a = _mm512_setr_epi64(1, 2, 3, 4, 5 + n, 6, 7, 8), r = vectors512(a, _mm512_add_epi64(a, a), n);
    printf("%lx %x ", fold(&r, sizeof r), masks(0x1234, r, n));
}
int main(void) {
    char line[200];
    for (int n = 0; n < 6; n++) {
        struct large in = {{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1.5};
        printf("%.3Lf ", sums(7, 1, 2.5, 3.5L, n, 5.5, 6.5L, -7));
        printf("%.3Lf ", sums(0));
        printf("%d %s ", text(line, "%d %s %.2f %Lg %c %ld %g", n, "text", 2.5 * n, 1e30L, 'c', -1L, 0.1), line);
        in = structure(in, (struct small){2, n}, n);
        printf("%ld %g ", fold(in.a, sizeof in.a), in.b);
        __int128 b = big(((__int128)n << 90) - 5, ~(unsigned __int128)0 >> n, n);
        printf("%lx ", fold(&b, sizeof b));
        struct small s = wide((struct small){n * 3.0, n}, n);
        printf("%g %ld ", s.a, s.b);
        complex long double c = complexes(1 + 2 * I, 3 - n * I, 0.5 * I + n, n);
        printf("%.3Lf %.3Lf ", creall(c), cimagl(c));
        printf("%ld ", many(n, 2, 3, 4, 5, 6, 7, 1.5, 2.5, 8, 9, 3.5f, 10, 11.5L, 12));
        if (__builtin_cpu_supports("avx2"))
            show256(n);
        if (__builtin_cpu_supports("avx512f"))
            show512(n);
        nothing();
    }
    printf("%d\n", depth);
    fflush(stdout);
    getchar();
    return 0;
}
