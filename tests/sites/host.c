/* Calls each generated site (sites.h) with its operand at good and bad addresses, and prints what it has done: the
 * result, a sum over registers and flags, a sum over the memory that it may write. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, RSP = 4, RSI = 6, RDI = 7, RCX = 1, NO_REGISTER = 255, DOWN = 0x400 };

struct state {
    uint64_t general[16];
    uint64_t vectors[4];
    uint64_t flags;
};

struct site {
    const char *name;
    long (*function)(struct state *);
    int base, index, scale, displacement, size, segment, narrow, string; /* string: 1 upwards, 2 downwards */
};

#include "sites.h"

static unsigned char *arena; /* a page; before and behind it none */
static unsigned char *behind_file, *read_only;

static uint64_t next(void) {
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static uint64_t sum(const void *data, size_t size) {
    uint64_t hash = 14695981039346656037ull;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * 1099511628211ull;
    return hash;
}

static void call(const struct site *site, uint64_t address, int number) {
    struct state state;
    for (int i = 0; i < 16; i++)
        state.general[i] = next() >> next() % 60;
    state.general[RCX] %= 1024; /* bits, as bt counts them */
    for (int i = 0; i < PAGE; i++)
        arena[i] = (unsigned char)(i * 7 + number);
    for (int i = 0; i < 4; i++)
        state.vectors[i] = next();
    state.flags = (next() & 0x8d5) | 0x202 | (site->string == 2 ? DOWN : 0);
    uint64_t rest = address - (uint64_t)(int64_t)site->displacement - (site->segment ? (uint64_t)pthread_self() : 0);
    if (site->string) {
        state.general[RDI] = state.general[RSI] = (uint64_t)arena + 1024;
        state.general[RCX] = (uint64_t)(number % 5);
    }
    if (site->base == NO_REGISTER) {
        if (rest % (uint64_t)site->scale)
            return;
        rest = (uint64_t)((int64_t)rest / site->scale); /* not for half of all addresses that are beyond user code's */
        state.general[site->index] = rest;
    } else {
        if (site->index != NO_REGISTER) {
            state.general[site->index] = next() % 64;
            rest -= state.general[site->index] * (uint64_t)site->scale;
        }
        state.general[site->base] = rest;
    }
    if (site->narrow && (site->segment || address >> 32))
        return;
    if (site->narrow && site->base != NO_REGISTER)
        state.general[site->base] = (uint32_t)state.general[site->base] | next() << 32;
    const long result = site->function(&state);
    for (int i = 0; i < 16; i++) /* addresses differ from run to run */
        if (state.general[i] - (uint64_t)arena < 2 * PAGE)
            state.general[i] -= (uint64_t)arena;
    if (site->base != NO_REGISTER)
        state.general[site->base] = 0;
    else
        state.general[site->index] = 0;
    state.general[RSP] = 0;
    printf("%s %d: %ld %lx %lx\n", site->name, number, result, sum(&state, sizeof state), sum(arena, PAGE));
}

int main(void) {
    static const uint64_t bad[] = {0, 8, 0xfff0, 0xfffe, 0x10008, 0xdead000000000000, 0x8000000000000000,
                                   0xffff800000001000, 0xffffffffffffff00, 0x0000900000000000, 0x00007ffffffff000,
                                   0x00007ffffffffffc, 0x0000800000000000, 0x100000000000000};
    FILE *file = tmpfile();
    alarm(100);
    setvbuf(stdout, NULL, _IOLBF, 0);
    arena = (unsigned char *)mmap((void *)0x10000000, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + PAGE;
    mprotect(arena, PAGE, PROT_READ | PROT_WRITE);
    behind_file = mmap((void *)0x30000000, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    read_only = mmap((void *)0x20000000, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned s = 0; s < sizeof sites / sizeof *sites; s++) {
        const struct site *site = &sites[s];
        const uint64_t good = (uint64_t)arena;
        const uint64_t places[] = {good + 512, good + 520, good + 515, good + PAGE - (uint64_t)site->size,
                                   good + PAGE - (uint64_t)site->size / 2, good + PAGE, good - 1,
                                   (uint64_t)behind_file + 64, (uint64_t)read_only + 64};
        int number = 0;
        for (unsigned i = 0; i < sizeof places / sizeof *places; i++)
            call(site, places[i], number++);
        for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
            call(site, bad[i], number++);
    }
    return 0;
}
