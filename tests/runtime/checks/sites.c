// Instructions at which faults are reported, each in a function of its own: NAME, with the label at_NAME at the
// instruction.  Run without argument they are called with operands that fault and with some that do not; with "certain"
// without those of which only the trap tells what they are, and with "blocked" also while all signals are blocked and
// nobody knows it, so that no trap is survived.  Every result is printed: -1 is a rescue's.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef long site(uint64_t rdi, uint64_t rsi, uint64_t rdx, uint64_t rcx);

// rax holds 5, xmm0 what it will; the result is rax.
#define SITE(name, before, instruction, after)                                                                         \
    site name;                                                                                                         \
    __asm__(".text; .globl " #name ", at_" #name "; .type " #name ", @function; .p2align 4; " #name                    \
            ": .cfi_startproc; push %rbp; .cfi_adjust_cfa_offset 8; mov $5, %eax; " before "; at_" #name               \
            ": " instruction "; " after "; mov %rsp, %rbp; pop %rbp; .cfi_adjust_cfa_offset -8; ret; .cfi_endproc; "   \
            ".size " #name ", . - " #name)

SITE(load, "nop", "mov 8(%rdi), %rax", "nop");
SITE(store, "nop", "movb $1, (%rdi)", "nop");
SITE(indexed, "nop", "movzwl 4(%rdi,%rsi,4), %eax", "nop");
SITE(flags_live, "cmp %rsi, %rdi", "mov (%rdx), %rcx", "setb %al; movzbl %al, %eax; lea (%rax,%rcx), %rax");
SITE(by_frame, "mov %rdi, %rbp", "mov (%rbp), %rax", "nop");
SITE(thread_local, "nop", "mov %fs:(%rdi), %rax", "xor %eax, %eax");
SITE(exchanged, "nop", "xchg %rsi, (%rdi)", "mov %rsi, %rax");
SITE(locked, "nop", "lock xadd %rax, (%rdi)", "nop");
SITE(pushed, "nop", "push (%rdi)", "pop %rax");
SITE(popped, "push %rsi", "pop (%rdi)", "nop");
SITE(called, "nop", "call *(%rdi)", "nop");
SITE(jumped, "lea 1f(%rip), %rdx; mov %rdx, -8(%rsp); test %rdi, %rdi; jz 2f; lea -8(%rsp), %rdi; 2:", "jmp *(%rdi)", "1:");
SITE(copied, "mov %rdx, %rcx", "rep movsb", "mov %ecx, %eax");
SITE(filled, "mov %rsi, %rcx", "rep stosl", "mov %ecx, %eax");
SITE(scanned, "nop", "scasb", "sete %al; movzbl %al, %eax");
SITE(picked, "mov %rdi, %rsi", "lodsb", "movzbl %al, %eax");
SITE(loaded_x87, "nop", "fldl (%rdi)", "fstp %st(0)");
SITE(aligned, "nop", "movaps (%rdi), %xmm0", "movq %xmm0, %rax");
SITE(added_aligned, "pxor %xmm0, %xmm0", "paddd (%rdi), %xmm0", "movq %xmm0, %rax");
SITE(any_address, "nop", "movups (%rdi), %xmm0", "movq %xmm0, %rax");
SITE(any_integer, "nop", "movdqu (%rdi), %xmm0", "movq %xmm0, %rax");
SITE(scalar, "pxor %xmm0, %xmm0", "addsd (%rdi), %xmm0", "movq %xmm0, %rax");
SITE(aligned_by_frame, "mov %rdi, %rbp", "movaps (%rbp), %xmm0", "movq %xmm0, %rax");
SITE(pair, "mov %rdi, %r8; push %rbx; xor %ebx, %ebx; xor %ecx, %ecx; xor %edx, %edx; xor %eax, %eax",
     "lock cmpxchg16b (%r8)", "pop %rbx");
SITE(undefined, "test %rdi, %rdi; jz 1f", "ud2", "1:");
SITE(udiv8, "mov %esi, %eax; mov %edx, %ecx", "div %cl", "movzwl %ax, %eax");
SITE(udiv8_high, "mov %esi, %eax; mov %edx, %ecx; shl $8, %ecx", "div %ch", "movzwl %ax, %eax");
SITE(udiv16, "mov %edx, %ecx; mov %esi, %eax; mov %edi, %edx", "div %cx", "movzwl %ax, %eax");
SITE(udiv32, "mov %edx, %ecx; mov %esi, %eax; mov %edi, %edx", "div %ecx", "nop");
SITE(udiv64, "mov %rdx, %r9; mov %rsi, %rax; mov %rdi, %rdx", "div %r9", "nop");
SITE(sdiv8, "mov %esi, %eax; mov %edx, %ecx", "idiv %cl", "movzwl %ax, %eax");
SITE(sdiv16, "mov %edx, %ecx; mov %esi, %eax; mov %edi, %edx", "idiv %cx", "movzwl %ax, %eax");
SITE(sdiv32, "mov %edx, %ecx; mov %esi, %eax; mov %edi, %edx", "idiv %ecx", "nop");
SITE(sdiv64, "mov %rdx, %r9; mov %rsi, %rax; mov %rdi, %rdx", "idiv %r9", "nop");
SITE(sdiv64_memory, "mov %rdx, -8(%rsp); mov %rsi, %rax; mov %rdi, %rdx", "idivq -8(%rsp)", "nop");

#define CALL(name, ...) printf(#name " %ld\n", ((long (*)(uint64_t, ...))name)(__VA_ARGS__))

static uint64_t words[8] __attribute__((aligned(64))) = {11, 22, 33, 44};
static const uint64_t addresses[] = {
    0, 8, 0xff00, 0xdead000000000000, 0x8000000000000000, 0xffff800000001000, 0xffffffffffffff00, 0x0000900000000000,
};

static int certain;

static long returns_seven(void) {
    return 7;
}

static void bad_addresses(void) {
    for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        const uint64_t bad = addresses[i], back = (uint64_t)words;
        CALL(load, bad);
        CALL(store, bad);
        CALL(indexed, bad - 4 * (uint64_t)i, i, 0ul);
        CALL(flags_live, 1ul, 2ul, bad);
        const int in_doubt = bad >> 47 == 1; // by rbp: a fault of the stack or of a page, by how many levels there are
        if (!in_doubt || !certain) {
            CALL(by_frame, bad);
            CALL(aligned_by_frame, bad);
        }
        CALL(exchanged, bad, 1ul);
        CALL(locked, bad);
        CALL(pushed, bad);
        CALL(popped, bad, 3ul);
        CALL(called, bad);
        CALL(copied, bad, back, 3ul);
        CALL(copied, back, bad, 3ul);
        CALL(copied, back, bad, 0ul);
        CALL(filled, bad, 2ul);
        CALL(filled, bad, 0ul);
        CALL(scanned, bad);
        CALL(picked, bad);
        CALL(loaded_x87, bad);
        CALL(aligned, bad);
        CALL(added_aligned, bad);
        CALL(any_address, bad + 1);
        CALL(any_integer, bad);
        CALL(scalar, bad);
        CALL(pair, bad);
    }
    CALL(jumped, 0ul);
    CALL(aligned, (uint64_t)words + 1);
    CALL(added_aligned, (uint64_t)words + 8);
    CALL(aligned_by_frame, (uint64_t)words + 4);
    CALL(pair, (uint64_t)words + 40);
    CALL(thread_local, 16 - (uint64_t)pthread_self());
    CALL(undefined, 1ul);
}

static void good_addresses(void) {
    static long (*const seven)(void) = returns_seven;
    const uint64_t good = (uint64_t)words;
    words[0] = 1, words[1] = 2;
    CALL(load, good);
    CALL(indexed, good, 1ul);
    CALL(flags_live, 1ul, 2ul, good);
    CALL(flags_live, 2ul, 1ul, good);
    CALL(by_frame, good);
    CALL(thread_local, 0ul);
    CALL(exchanged, good + 56, 9ul);
    CALL(locked, good + 56);
    CALL(pushed, good);
    CALL(popped, good + 56, 3ul);
    CALL(called, (uint64_t)&seven);
    CALL(jumped, 1ul);
    CALL(copied, good + 32, good, 8ul);
    CALL(filled, good + 32, 2ul);
    CALL(scanned, good);
    CALL(picked, good);
    CALL(loaded_x87, good + 1);
    CALL(aligned, good);
    CALL(added_aligned, good + 16);
    CALL(any_address, good + 1);
    CALL(any_integer, good + 3);
    CALL(scalar, good + 5);
    CALL(aligned_by_frame, good);
    CALL(pair, good + 48);
    CALL(undefined, 0ul);
    CALL(store, good);
}

// A program may have the first page: no check may take an access to it for a fault.
static void first_page(void) {
    char *page = mmap((void *)0x1000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (page == MAP_FAILED)
        return;
    CALL(store, 0x1008ul);
    CALL(load, 0x1000ul);
    munmap(page, 4096);
}

static uint64_t next(void) {
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

// Operands near where the quotient overflows as often as far from it.
static uint64_t operand(void) {
    static const uint64_t edges[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
                                     0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff};
    const uint64_t random = next();
    return random & 3 ? edges[random / 4 % (sizeof edges / sizeof *edges)] + next() % 3 - 1 : next() >> next() % 64;
}

static void divisions(void) {
    for (int i = 0; i < 400; i++) {
        const uint64_t high = operand(), low = operand(), divisor = operand();
        CALL(udiv8, high, low, divisor);
        CALL(udiv8_high, high, low, divisor);
        CALL(udiv16, high, low, divisor);
        CALL(udiv32, high, low, divisor);
        CALL(udiv64, high, low, divisor);
        CALL(sdiv8, high, low, divisor);
        CALL(sdiv16, high, low, divisor);
        CALL(sdiv32, high, low, divisor);
        CALL(sdiv64, high, low, divisor);
        CALL(sdiv64_memory, high, low, divisor);
        CALL(sdiv64, (uint64_t)((int64_t)low >> 63), low, divisor);
    }
}

// By the instruction itself, so that nobody sees it who looks at calls.
static void block_all(void) {
    uint64_t all = ~0ul;
    long result = 14; // rt_sigprocmask
    register long size __asm__("r10") = sizeof all;
    __asm__ volatile("syscall" : "+a"(result) : "D"(SIG_BLOCK), "S"(&all), "d"(0), "r"(size) : "rcx", "r11", "memory");
}

int main(int argc, char **argv) {
    alarm(50);
    setvbuf(stdout, NULL, _IOLBF, 0);
    certain = argc > 1;
    if (argc > 1 && !strcmp(argv[1], "blocked"))
        block_all();
    good_addresses();
    bad_addresses();
    first_page();
    divisions();
    return 0;
}
