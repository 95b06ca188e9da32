/* Threads whose bytes lie between each other's, in the same cache lines and 512-byte granules.
 *
 *     slots, bytes: 1 3 8 16 33 64 144 200 1 3 …   owners: thread 0 1 2 3 0 1 …   without gaps
 *
 * In turns a thread fills its slots natively, and calls a region that overwrites them in all the forms that stores
 * have, by the program and by the kernel, and then faults.  After the rollback its slots must be what it had filled in,
 * whatever the others have done meanwhile; these may be in the region at the same time.
 *
 * Prints what is wrong; the last line is the number of wrong bytes and that of rounds in which the region did not
 * fault. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, SIZES = 8, EACH = 48, ROUNDS = 500, REPORTS = 8 };
static const int sizes[SIZES] = {1, 3, 8, 16, 33, 64, 144, 200};

struct slot {
    unsigned char *at;
    int size;
};
static unsigned char memory[THREADS * EACH * 64] __attribute__((aligned(64)));
static struct slot slots[THREADS][EACH];
static int file, wrong, spared;

/* ---- writing one slot ---- */

#define WRITER(name, ...)                                                                                              \
    static void name(unsigned char *at, long size, unsigned random) {                                                  \
        (void)size, (void)random;                                                                                      \
        __VA_ARGS__;                                                                                                   \
    }
#define CODE(name, code)                                                                                               \
    WRITER(name, __asm__ volatile(code : "+D"(at), "+c"(size) : "r"((long)random) : "memory", "cc", "rax", "rsi",      \
                                  "xmm0", "xmm1"))

CODE(byte, "movb %b2, (%0)")
CODE(condition, "stc; setc (%0)")
CODE(arithmetic, "addb %b2, (%0); incb (%0); notb (%0); rolb $3, (%0); andb $0x7e, (%0)")
CODE(word, "movw %w2, (%0); shlw $1, 1(%0)")
CODE(quad, "movq %2, (%0); addq $77, (%0); negq (%0); rorq $9, (%0); shldq $5, %2, (%0)")
CODE(bits, "mov $61, %%eax; btsq %%rax, (%0); btcq $3, (%0); xaddq %%rax, (%0)")
CODE(compared, "mov (%0), %%rax; cmpxchgq %2, (%0); movntiq %2, (%0); cmpxchgq %2, (%0)")
CODE(popped, "lea -128(%%rsp), %%rsp; pushq %2; popq (%0); lea 128(%%rsp), %%rsp")
CODE(x87, "fldpi; fstpl (%0); fnstcw (%0); stmxcsr 4(%0)")
CODE(vector, "movq %2, %%xmm0; movdqu %%xmm0, (%0); pcmpeqd %%xmm0, %%xmm0; movhps %%xmm0, 8(%0); movss %%xmm0, 4(%0)")
CODE(stored, "mov %b2, %%al; rep stosb")
CODE(downwards, "lea -1(%0,%1), %0; mov %b2, %%al; std; rep stosb; cld")
CODE(moved, "lea sizes(%%rip), %%rsi; rep movsb")
WRITER(library, memset(at, (int)random, (size_t)size / 2); memmove(at + size / 3, at, (size_t)(size - size / 3)))

/* … as many elements of a vector as fit, by a mask */
static unsigned char ones[64], lanes[128]; /* lanes: 64 bytes set, then 64 that are not */
static int has_avx2, has_avx512, has_vbmi2;

#define MASKED(name, unit, most, code)                                                                                 \
    static void name(unsigned char *at, long size, unsigned random) {                                                  \
        const long count = size / (unit) < (most) ? size / (unit) : (most);                                            \
        (void)random;                                                                                                  \
        __asm__ volatile(code                                                                                          \
                         : "+D"(at)                                                                                    \
                         : "r"(lanes + 64 - count * (unit)), "r"(count == 64 ? ~0L : (1L << count) - 1), "r"(ones)     \
                         : "memory", "xmm0", "xmm1");                                                                  \
    }
MASKED(bytes_sse, 1, 16, "movdqu (%1), %%xmm1; movdqu (%3), %%xmm0; maskmovdqu %%xmm1, %%xmm0")
MASKED(floats_avx, 4, 8, "vmovdqu (%1), %%ymm1; vmovdqu (%3), %%ymm0; vmaskmovps %%ymm0, %%ymm1, (%0); vzeroupper")
MASKED(quads_avx, 8, 4, "vmovdqu (%1), %%ymm1; vmovdqu (%3), %%ymm0; vpmaskmovq %%ymm0, %%ymm1, (%0); vzeroupper")
MASKED(bytes_avx512, 1, 64, "kmovq %2, %%k1; vmovdqu8 (%3), %%zmm0; vmovdqu8 %%zmm0, (%0)%{%%k1%}; vzeroupper")
MASKED(words_avx512, 2, 32, "kmovq %2, %%k1; vmovdqu16 (%3), %%zmm0; vmovdqu16 %%zmm0, (%0)%{%%k1%}; vzeroupper")
MASKED(floats_avx512, 4, 16, "kmovq %2, %%k1; vmovups (%3), %%zmm0; vmovups %%zmm0, (%0)%{%%k1%}; vzeroupper")
MASKED(narrowed_avx512, 1, 8, "kmovq %2, %%k1; vmovups (%3), %%zmm0; vpmovqb %%zmm0, (%0)%{%%k1%}; vzeroupper")
MASKED(extracted_avx512, 8, 4,
       "kmovq %2, %%k1; vmovups (%3), %%zmm0; vextractf64x4 $1, %%zmm0, (%0)%{%%k1%}; vzeroupper")
MASKED(compressed_avx512, 4, 16,
       "kmovq %2, %%k1; kshiftlw $1, %%k1, %%k1; vmovups (%3), %%zmm0; vpcompressd %%zmm0, (%0)%{%%k1%}; vzeroupper")
MASKED(packed_avx512, 1, 64, "kmovq %2, %%k1; vmovdqu8 (%3), %%zmm0; vpcompressb %%zmm0, (%0)%{%%k1%}; vzeroupper")

/* … and by the kernel */
WRITER(read_file, syscall(SYS_pread64, file, at, size, (long)random % 4096))
WRITER(read_vectors, syscall(SYS_preadv, file, (struct iovec[]){{at + 1, 1}, {at, 1}, {at + 2, size - 2}}, 3, 64L, 0))
WRITER(read_link, syscall(SYS_readlink, "/proc/self/exe", at, size))
WRITER(status, syscall(SYS_fstat, file, at))
WRITER(times, syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at); clock_gettime(CLOCK_REALTIME, (struct timespec *)at))
WRITER(entropy, syscall(SYS_getrandom, at, size, 0))
WRITER(polled, *(struct pollfd *)at = (struct pollfd){file, POLLIN, 0}; syscall(SYS_poll, at, 1, 0))
static void datagram(unsigned char *at, long size, unsigned random) {
    int ends[2];
    if (syscall(SYS_socketpair, AF_UNIX, SOCK_DGRAM, 0, ends))
        return;
    syscall(SYS_write, ends[0], &random, sizeof random);
    syscall(SYS_recvfrom, ends[1], at, size, 0, NULL, NULL);
    syscall(SYS_close, ends[0]);
    syscall(SYS_close, ends[1]);
}

static const struct {
    void (*write)(unsigned char *at, long size, unsigned random);
    int least;      /* bytes of a slot */
    const int *has; /* what the processor must have */
} forms[] = {
    {byte, 1},
    {condition, 1},
    {arithmetic, 1},
    {word, 3},
    {quad, 8},
    {bits, 8},
    {compared, 8},
    {popped, 8},
    {x87, 8},
    {vector, 16},
    {bytes_sse, 1},
    {stored, 1},
    {downwards, 1},
    {moved, 1},
    {library, 1},
    {read_file, 1},
    {read_vectors, 3},
    {read_link, 1},
    {status, 144},
    {times, 16},
    {entropy, 1},
    {polled, 8},
    {datagram, 1},
    {floats_avx, 4, &has_avx2},
    {quads_avx, 8, &has_avx2},
    {bytes_avx512, 1, &has_avx512},
    {words_avx512, 2, &has_avx512},
    {floats_avx512, 4, &has_avx512},
    {narrowed_avx512, 1, &has_avx512},
    {extracted_avx512, 8, &has_avx512},
    {compressed_avx512, 4, &has_avx512},
    {packed_avx512, 1, &has_vbmi2},
};
enum { FORMS = sizeof forms / sizeof *forms };

/* ---- the region ---- */

__attribute__((noipa)) int region(int me, unsigned random, int *written) {
    for (int i = 0; i < EACH; i++) {
        const struct slot *slot = &slots[me][i];
        int form = (int)((random >> 7) + (unsigned)i * 5) % FORMS;
        while (slot->size < forms[form].least || (forms[form].has && !*forms[form].has))
            form = (form + 1) % FORMS;
        forms[form].write(slot->at, slot->size, random += 0x9e3779b9);
        *written += 1;
    }
    *(volatile int *)NULL = 1;
    return 0;
}

static void *thread(void *which) {
    const int me = (int)(long)which;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        int written = -1;
        for (int i = 0; i < EACH; i++)
            memset(slots[me][i].at, (int)(round * 4 + (unsigned)(me + i)), (size_t)slots[me][i].size);
        if (region(me, round * 40503 + (unsigned)me * 977, &written) != -1)
            __atomic_add_fetch(&spared, 1, __ATOMIC_RELAXED);
        wrong += written != -1;
        for (int i = 0; i < EACH; i++)
            for (int b = 0; b < slots[me][i].size; b++)
                if (slots[me][i].at[b] != (unsigned char)(round * 4 + (unsigned)(me + i)) &&
                    __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED) <= REPORTS)
                    printf("thread %d, round %u: byte %d of slot %d\n", me, round, b, i);
    }
    return NULL;
}

int main(void) {
    pthread_t others[THREADS];
    unsigned char *next = memory;
    alarm(60);
    has_avx2 = __builtin_cpu_supports("avx2") != 0;
    has_avx512 = __builtin_cpu_supports("avx512bw") != 0;
    has_vbmi2 = __builtin_cpu_supports("avx512vbmi2") != 0;
    memset(ones, 0xe7, sizeof ones);
    memset(lanes, 0xff, sizeof lanes / 2);
    file = open("/proc/self/exe", O_RDONLY);
    for (int i = 0; i < THREADS * EACH; i++) { /* the sizes change owners from turn to turn */
        struct slot *slot = &slots[i % THREADS][i / THREADS];
        *slot = (struct slot){next, sizes[(i + i / SIZES) % SIZES]};
        next += slot->size;
    }
    for (long i = 0; i < THREADS; i++)
        pthread_create(&others[i], NULL, thread, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(others[i], NULL);
    printf("%d wrong, %d without a fault, of %d rounds with %d forms\n", wrong, spared, THREADS * ROUNDS, FORMS);
    return wrong || spared;
}
