/* usage: host CASES-TABLE STATE REGION-INDEX SEED TRIALS [THREAD] [CASE TRIAL]
 *
 * Runs every case of the table in TRIALS random states, each natively, in a region that commits and in one that is
 * rolled back (or, where the case faults, in a region that is rescued, and emulated without rescue), and compares.
 * STATE is the address of the hardened file's struct state, REGION-INDEX that of run_region in its patch table.  With
 * THREAD 1 a second thread is alive.  CASE and TRIAL: that one alone, with its states.
 *
 * Output, a line each:   form NUMBER cases trials faults committed rolled-back rescued observed illegal
 *                        degraded FORM REASON COUNT      left FORM COUNT
 *                        difference CASE TRIAL WAY TEXT
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "machine.h"
#include "state_offsets.h" /* made by campaign.py from the description of the runtime that was injected */

enum { PAGE = 4096, FORMS = 8192, MOST_DIFFERENCES = 4 /* told per case */, GIVE_UP = 3, SECONDS_PER_CASE = 5 };

struct counts {
    unsigned long cases, trials, faults, committed, rolled_back, rescued, observed, illegal, left;
    unsigned long degraded[REASON_COUNT];
};
static struct counts counts[FORMS];

static const volatile char *state; /* struct state */

static uint64_t word(size_t offset) {
    return *(const volatile uint64_t *)(state + offset);
}

static bool verbose;

/* ---- faults ---- */

static volatile bool armed;
static struct fault fault;

static void on_fault(int signal, siginfo_t *info, void *opaque) {
    ucontext_t *at = opaque;
    if (!armed)
        _exit(99); /* a bug of the host */
    fault = (struct fault){signal, info->si_code, (uint64_t)info->si_addr, (uint64_t)at->uc_mcontext.gregs[REG_RIP]};
    at->uc_mcontext.gregs[REG_RIP] = (greg_t)&finish_fault;
}

static void catch_faults(void) {
    static uint8_t stack[1 << 16];
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

/* A case that does not end is told, and ends everything. */
static unsigned long case_now, trial_now;

static void on_alarm(int signal) {
    (void)signal;
    dprintf(STDERR_FILENO, "host: case %lu does not end in trial %lu\n", case_now, trial_now);
    _exit(98);
}

/* ---- memory ---- */

static void *map_at(uint64_t address, size_t bytes, int protection) {
    void *made = mmap((void *)address, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (made != (void *)address) {
        perror("host: mmap");
        exit(2);
    }
    return made;
}

static uint8_t *map_arena(uint64_t address) {
    map_at(address - PAGE, ARENA_BYTES + 2 * PAGE, PROT_NONE);
    mprotect((void *)address, ARENA_BYTES, PROT_READ | PROT_WRITE);
    return (uint8_t *)address;
}

static void map_memory(void) {
    arena_at[ARENA_LOW] = map_arena(LOW);
    arena_at[ARENA_FAR] = map_arena(FAR);
    arena_at[ARENA_HIGH] = map_arena(((uint64_t)__builtin_thread_pointer() & -PAGE) + (64 << 20));
    map_at(STACK - PAGE, PAGE, PROT_NONE);
    arena_at[ARENA_STACK] = map_at(STACK, STACK_TOP + PAGE - STACK, PROT_READ | PROT_WRITE);
    map_at(EXITS, PAGE, PROT_READ | PROT_WRITE);
}

struct memory {
    uint8_t arenas[ARENAS][ARENA_BYTES];
};
static struct memory memory_before, memory_native;

static void save(struct memory *to) {
    for (unsigned i = 0; i < ARENAS; i++)
        memcpy(to->arenas[i], arena_at[i], ARENA_BYTES);
}

static void restore(const struct memory *from) {
    for (unsigned i = 0; i < ARENAS; i++)
        memcpy(arena_at[i], from->arenas[i], ARENA_BYTES);
    memset((void *)(STACK + ARENA_BYTES), 0, STACK_GAP);
}

/* The stack arena too, unless the region was rolled back: what lies below its caller's frame is dead then. */
static const char *compare_memory(const struct memory *expected, bool stack) {
    static char text[128];
    for (unsigned a = 0; a < ARENAS; a++) {
        if ((a == ARENA_STACK && !stack) || !memcmp(arena_at[a], expected->arenas[a], ARENA_BYTES))
            continue;
        unsigned at = 0, last = ARENA_BYTES - 1;
        while (arena_at[a][at] == expected->arenas[a][at])
            at++;
        while (arena_at[a][last] == expected->arenas[a][last])
            last--;
        snprintf(text, sizeof text, "memory of arena %u at %#lx (%u bytes on) is %#x, expected %#x", a,
                 (uint64_t)&arena_at[a][at], last - at, arena_at[a][at], expected->arenas[a][at]);
        return text;
    }
    return NULL;
}

/* Where emulation ends, two words below the red zone are used: dead, as any signal writes there. */
static void forget_below_red_zone(uint64_t rsp) {
    enum { RED_ZONE = 128, WORDS = 16 };
    const uint64_t offset = rsp - RED_ZONE - WORDS - STACK;
    if (offset <= ARENA_BYTES - WORDS)
        memcpy(arena_at[ARENA_STACK] + offset, memory_native.arenas[ARENA_STACK] + offset, WORDS);
}

/* ---- runs ---- */

struct outcome {
    struct fault fault; /* as the handler saw it; signal 0: none */
    bool rescued, left;
    unsigned reason;   /* of a degradation; 0: emulated */
    uint64_t fault_pc; /* of a rescue, as the runtime recorded it */
};

static struct outcome go(void (*way)(void), bool to_undo) {
    const uint64_t recoveries = word(STATE_recoveries), degradations = word(STATE_degradations);
    uint64_t reasons[REASON_COUNT];
    memcpy(reasons, (const void *)(state + STATE_reasons), sizeof reasons);
    ((uint64_t *)EXITS)[0] = (uint64_t)(to_undo ? &undo : &finish);
    ((uint64_t *)EXITS)[1] = (uint64_t)(to_undo ? &undo : &finish_taken);
    fault.signal = 0;
    armed = true;
    run(way);
    armed = false;
    struct outcome outcome = {.fault = fault, .rescued = word(STATE_recoveries) != recoveries};
    for (unsigned i = 0; i < REASON_COUNT && word(STATE_degradations) != degradations; i++)
        if (word(STATE_reasons + 8 * i) != reasons[i])
            outcome.reason = i;
    if (outcome.rescued)
        outcome.fault_pc = word(STATE_ring + recoveries % RECOVERY_RING * RECOVERY_BYTES + RECOVERY_pc);
    if (!outcome.rescued)
        xsave_normalize(out.xsave);
    return outcome;
}

static unsigned long differences_of_case;

static void tell(unsigned long number, unsigned long trial, const char *way, const char *what) {
    if (differences_of_case++ < MOST_DIFFERENCES)
        printf("difference %lu %lu %s %s\n", number, trial, way, what);
}

/* What the runtime records as the place: of a trap, where the program sees the address behind it, the instruction's; of
 * one in a file, its offset there. */
static uint64_t place_of(const struct fault *fault, const struct test_case *test) {
    const uint64_t pc = fault->signal == SIGTRAP && fault->pc == case_slot + test->length ? case_slot : fault->pc;
    return pc - CASES < EXITS - CASES ? pc - CASES : pc;
}

/* The case in one state.  False: the processor has no such instruction. */
static bool try_case(const struct test_case *test, unsigned long number, unsigned long trial) {
    static struct machine native;
    struct counts *count = &counts[test->form];
    const char *what;
    make_state(test);
    case_slot = CASES + test->code;
    save(&memory_before);
    restore(&memory_before);
    const struct outcome expected = go(run_native, false);
    native = out;
    save(&memory_native);
    count->trials++;
    const bool illegal = expected.fault.signal == SIGILL && expected.fault.pc == case_slot;
    count->illegal += illegal;
    if (verbose)
        printf("native: exit %lu, signal %d at %#lx, address %#lx\n", native.exit, expected.fault.signal, expected.fault.pc,
               expected.fault.address);

    restore(&memory_before);
    struct outcome found = go(run_region, false);
    count->degraded[found.reason]++;
    if (found.rescued) {
        count->faults++;
        count->rescued++;
        if (!expected.fault.signal)
            what = "a fault that it has not natively";
        else if (found.fault_pc != place_of(&expected.fault, test))
            what = "recorded at another place than where it faults natively";
        else if (!(what = compare_rescued()))
            what = compare_memory(&memory_before, false);
        if (what)
            tell(number, trial, "rescued", what);
        restore(&memory_before);
        found = go(run_observed, false);
        count->observed++;
        if ((what = compare_faults(&expected.fault, &found.fault)))
            tell(number, trial, "observed", what);
    } else if (expected.fault.signal) {
        count->faults++;
        if ((what = compare_faults(&expected.fault, &found.fault)))
            tell(number, trial, found.reason ? "degraded" : "left", what);
    } else if (found.fault.signal) {
        tell(number, trial, "committed", "a fault that it has not natively");
    }
    if (found.reason) {
        forget_below_red_zone(in.general[4]);
        forget_below_red_zone(native.general[4]);
    }
    count->committed += !found.rescued && !expected.fault.signal;
    const uint64_t unknown = test->may_be_unsteady ? ~0ull : expected.fault.signal ? test->dead_flags : test->undefined_flags;
    if ((what = compare_machines(&native, &out, test->ignored, unknown)))
        tell(number, trial, expected.fault.signal ? "observed" : "committed", what);
    else if (!test->ignored && (what = compare_memory(&memory_native, true)))
        tell(number, trial, expected.fault.signal ? "observed" : "committed", what);
    if (expected.fault.signal)
        return !illegal;

    restore(&memory_before);
    found = go(run_region, true);
    if (!found.rescued) { /* the region ended before the fault: it was degraded, or the case has moved rsp out of it */
        count->left += !found.reason;
        return true;
    }
    count->rolled_back++;
    if ((what = compare_rescued()) || (what = compare_memory(&memory_before, false)))
        tell(number, trial, "rolled-back", what);
    return true;
}

static uint64_t seed_of(uint64_t seed, unsigned long number, unsigned long trial) {
    return (seed << 40) ^ (number << 16) ^ trial;
}

static void *sleeper(void *nothing) {
    pause();
    return nothing;
}

static const struct test_case *read_table(const char *path, unsigned long *count) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    fseek(file, 0, SEEK_END);
    const size_t bytes = (size_t)ftell(file);
    rewind(file);
    struct test_case *table = malloc(bytes);
    *count = fread(table, sizeof *table, bytes / sizeof *table, file);
    fclose(file);
    return table;
}

static void print_counts(void) {
    for (unsigned i = 0; i < FORMS; i++) {
        const struct counts *c = &counts[i];
        if (!c->cases)
            continue;
        printf("form %u %lu %lu %lu %lu %lu %lu %lu %lu\n", i, c->cases, c->trials, c->faults, c->committed,
               c->rolled_back, c->rescued, c->observed, c->illegal);
        for (unsigned r = 1; r < REASON_COUNT; r++)
            if (c->degraded[r])
                printf("degraded %u %u %lu\n", i, r, c->degraded[r]);
        if (c->left)
            printf("left %u %lu\n", i, c->left);
    }
}

int main(int argc, char **argv) {
    if (argc < 7)
        return 2;
    unsigned long count, seed = strtoul(argv[4], NULL, 0), trials = strtoul(argv[5], NULL, 0);
    const struct test_case *table = read_table(argv[1], &count);
    state = (const volatile char *)strtoul(argv[2], NULL, 0);
    const size_t patch = STATE_patches + PATCH_BYTES * strtoul(argv[3], NULL, 0);
    cpu_set_t here; /* some instructions tell which processor they run on */
    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    sched_setaffinity(0, sizeof here, &here);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    xsave_prepare();
    states_prepare();
    map_memory();
    catch_faults();
    signal(SIGALRM, on_alarm);
    pthread_t other;
    if (argv[6][0] == '1')
        pthread_create(&other, NULL, sleeper, NULL);
    if (argc == 9) {
        const unsigned long number = strtoul(argv[7], NULL, 0), trial = strtoul(argv[8], NULL, 0);
        verbose = true;
        seed_random(seed_of(seed, number, trial));
        try_case(&table[number], number, trial);
        return 0;
    }
    for (unsigned long i = 0; i < count; i++) {
        counts[table[i].form].cases++;
        differences_of_case = 0;
        case_now = i;
        alarm(SECONDS_PER_CASE);
        for (unsigned long trial = 0; trial < trials; trial++) {
            trial_now = trial;
            seed_random(seed_of(seed, i, trial));
            if (!try_case(&table[i], i, trial) && trial == GIVE_UP)
                break;
        }
    }
    print_counts();
    printf("entries %lu\n", word(patch + PATCH_entries));
    return 0;
}
