/* link_map → its dynamic section → relocations by a symbol's name → the slots that hold one of the allocator's
 * functions
 *
 * A slot holds the function, or, as long as it is bound late, leads to the stub that binds it.  Anything else in it is
 * another allocator's, and its module never sees a guarded block; but where it belongs to a third (another hardened
 * module's runtime), blocks could get past us, and nothing is guarded at all.
 */
#include "guard/redirect.h"

#include "arch/x86_64/entry.h"
#include "effects/hooks.h"
#include "effects/words.h"
#include "guard/arena.h"
#include "region/loader.h"
#include "region/log.h"
#include "region/rules.h"
#include "region/runtime.h"

enum { LONGEST_NAME = 24, RTLD_PINNED = 1 | 4 | 0x1000 /* LAZY, NOLOAD, NODELETE */ };
enum { DT_PLTRELSZ = 2, DT_STRTAB = 5, DT_SYMTAB = 6, DT_RELA = 7, DT_RELASZ = 8, DT_JMPREL = 23, DT_TAGS = 24 };
enum { R_64 = 1, R_GLOB_DAT = 6, R_JUMP_SLOT = 7, SYMBOL_BYTES = 24 };

struct relocation {
    uint64_t place;
    uint32_t type, symbol;
    int64_t addend;
};

static const char names[CALLS][LONGEST_NAME] = {
    [CALL_FREE] = "free",
    [CALL_CFREE] = "cfree",
    [CALL_REALLOC] = "realloc",
    [CALL_REALLOCARRAY] = "reallocarray",
    [CALL_USABLE_SIZE] = "malloc_usable_size",
    [CALL_MALLOC] = "malloc",
    [CALL_CALLOC] = "calloc",
    [CALL_MEMALIGN] = "memalign",
    [CALL_ALIGNED_ALLOC] = "aligned_alloc",
    [CALL_POSIX_MEMALIGN] = "posix_memalign",
    [CALL_NEW] = "_Znwm",
    [CALL_NEW_ARRAY] = "_Znam",
    [CALL_NEW_NOTHROW] = "_ZnwmRKSt9nothrow_t",
    [CALL_NEW_ARRAY_NOTHROW] = "_ZnamRKSt9nothrow_t",
};

static uintptr_t entry_of(enum guarded_call call) {
    return call == CALL_FREE ? (uintptr_t)&guard_free : (uintptr_t)&guard_entries + call * GUARD_ENTRY_BYTES;
}

static bool is_entry(uintptr_t address) {
    return address == (uintptr_t)&guard_free || address - (uintptr_t)&guard_entries < CALLS * GUARD_ENTRY_BYTES;
}

uintptr_t not_redirected(uintptr_t address) {
    for (unsigned call = 0; guards() && call < CALL_EVERYWHERE; call++)
        if (address == entry_of(call) && guards()->original[call])
            return guards()->original[call];
    return address;
}

static int call_named(uint64_t at, enum guarded_call end) {
    char text[LONGEST_NAME];
    const size_t copied = safe_copy(text, (const void *)at, sizeof text);
    for (unsigned call = 0; call < end; call++)
        for (size_t i = 0; i < copied && text[i] == names[call][i]; i++)
            if (!text[i])
                return (int)call;
    return -1;
}

/* The first bytes of a stub behind its endbr64: of one that leads on, `jmp [rip + slot]`; of one that has not bound its
 * slot yet, `push imm32` or `mov r11d, imm32`. */
static bool is_stub(uintptr_t address, bool bound) {
    uint8_t code[6];
    if (safe_copy(code, (const void *)address, sizeof code) < sizeof code)
        return false;
    const uint8_t *at = code + (code[0] == 0xf3 && code[1] == 0x0f && code[2] == 0x1e ? 4 : 0);
    at += bound && *at == 0xf2; /* bnd */
    return bound ? at[0] == 0xff : at[0] == 0x68 || (at[0] == 0x41 && at[1] == 0xbb);
}

/* The module's own function, or a stub whose address stands for the function in the whole process: its slot is
 * redirected too. */
static bool needs_none(uintptr_t address, const struct link_map *module) {
    const struct range *range = range_known(address);
    return is_stub(address, true) || (range && range->base == module->bias);
}

static bool replace(uintptr_t slot, uint64_t from, uint64_t to) {
    uint64_t expected[2] = {from, 0}, desired[2] = {to, 0};
    int done = safe_exchange(slot, sizeof from, expected, desired);
    if (done >= 0 || range_known(slot)) /* code that others may run shares its page */
        return done > 0;
    void *page = (void *)(slot & -OS_PAGE);
    if (!os_protect(page, OS_PAGE, OS_READ | OS_WRITE))
        return false;
    done = safe_exchange(slot, sizeof from, expected, desired);
    os_protect(page, OS_PAGE, OS_READ);
    return done == 1;
}

/* False: a guarded block could get past us there. */
static bool redirect_slot(const struct link_map *module, const struct relocation *at, enum guarded_call call) {
    const uintptr_t slot = module->bias + at->place, original = guards()->original[call];
    uint64_t now;
    if (slot & 7 || !original || safe_copy(&now, (const void *)slot, sizeof now) < sizeof now)
        return true;
    if (now != original && !(at->type == R_JUMP_SLOT && is_stub(now, false)))
        return is_entry(now) || at->type == R_64 || needs_none(now, module);
    return replace(slot, now, entry_of(call));
}

static bool redirect_table(const struct link_map *module, const uint64_t *tags, uint64_t table, uint64_t size) {
    enum { AT_ONCE = 64 };
    struct relocation some[AT_ONCE];
    const enum guarded_call end = module->bias == load_bias() ? CALLS : CALL_EVERYWHERE;
    for (uint64_t done = 0; done < size; done += sizeof some) {
        const uint64_t left = size - done < sizeof some ? size - done : sizeof some;
        const uint64_t count = safe_copy(some, (const void *)(table + done), left) / sizeof *some;
        for (uint64_t i = 0; i < count; i++) {
            uint32_t name = 0;
            if (some[i].type != R_JUMP_SLOT && some[i].type != R_GLOB_DAT && (some[i].type != R_64 || some[i].addend))
                continue;
            safe_copy(&name, (const void *)(tags[DT_SYMTAB] + some[i].symbol * (uint64_t)SYMBOL_BYTES), sizeof name);
            const int call = name ? call_named(tags[DT_STRTAB] + name, end) : -1;
            if (call >= 0 && !redirect_slot(module, &some[i], (enum guarded_call)call))
                return false;
        }
    }
    return true;
}

static bool redirect_module(const struct link_map *module) {
    enum { MAX_ENTRIES = 256 };
    uint64_t entry[2], tags[DT_TAGS] = {0};
    for (unsigned i = 0; i < MAX_ENTRIES; i++) {
        if (safe_copy(entry, (const void *)(module->dynamic + i * sizeof entry), sizeof entry) < sizeof entry ||
            !entry[0])
            break;
        if (entry[0] >= DT_TAGS)
            continue;
        const bool is_size = entry[0] == DT_RELASZ || entry[0] == DT_PLTRELSZ;
        const bool as_linked = !is_size && entry[1] < module->bias; /* by musl */
        tags[entry[0]] = as_linked ? entry[1] + module->bias : entry[1];
    }
    return redirect_table(module, tags, tags[DT_RELA], tags[DT_RELASZ]) &&
           redirect_table(module, tags, tags[DT_JMPREL], tags[DT_PLTRELSZ]);
}

/* The library is never unloaded: its entries stand in others' tables. */
static bool pin(const struct link_map *self) {
    struct link_map owner;
    typedef void *open(const char *, int);
    const uintptr_t dlopen = loader_definition("dlopen", &owner);
    return payload_header.flags & HEADER_EXECUTABLE ||
           (dlopen && ((open *)dlopen)((const char *)self->name, RTLD_PINNED));
}

static bool look_up(struct guards *all, struct link_map *self) {
    struct link_map owner;
    for (unsigned call = 0; call < CALLS; call++)
        if ((all->original[call] = loader_definition(names[call], &owner)) && owner.bias == load_bias())
            return false;
    bool more = loader_first(&module_runtime()->facts, self);
    while (more && self->bias != load_bias())
        more = loader_next(self);
    return more && all->original[CALL_FREE] && all->original[CALL_MALLOC] && all->original[CALL_REALLOC] &&
           all->original[CALL_USABLE_SIZE];
}

/* Whatever the loader binds from now on, in modules that are not there yet, too. */
static bool redirect_symbols(enum guarded_call call) {
    enum { VERSIONS = 4 };
    struct link_map owner;
    uintptr_t places[VERSIONS];
    const uintptr_t original = guards()->original[call];
    if (!original || !loader_definition(names[call], &owner))
        return true;
    const unsigned count = loader_symbol_values(&owner, names[call], places, VERSIONS);
    bool done = count < VERSIONS;
    for (unsigned i = 0; i < count && done; i++)
        if (*(const uint64_t *)places[i] == original - owner.bias)
            done = replace(places[i], original - owner.bias, entry_of(call) - owner.bias);
    return done;
}

static bool redirect_all(void) {
    struct link_map module;
    bool more = loader_first(&module_runtime()->facts, &module), done = more;
    for (; more && done; more = loader_next(&module))
        done = redirect_module(&module);
    for (unsigned call = 0; call < CALL_EVERYWHERE && done; call++)
        done = redirect_symbols((enum guarded_call)call);
    return done;
}

/* The allocator has its first memory now, as in a program whose blocks all come from it: where the program has locked
 * itself in, it would be too late. */
static void settle_in(const struct guards *all) {
    typedef void *allocate(size_t);
    typedef void release(void *);
    ((release *)all->original[CALL_FREE])(((allocate *)all->original[CALL_MALLOC])(1));
}

void guards_start(void) {
    struct state *state = module_state();
    struct link_map self;
    if (state->status != STATUS_READY || state->guards || !rule_of(NULL, RULE_GUARD_SITE))
        return;
    struct guards *all = os_map(0, (sizeof *all + OS_PAGE - 1) & -OS_PAGE, OS_READ | OS_WRITE, false);
    bool done = all && look_up(all, &self) && pin(&self) && arena_create(all);
    if (done) {
        settle_in(all);
        state->guards = (uint64_t)all;
        done = redirect_all();
    }
    if (!done) { /* what was redirected goes on to the originals */
        if (all)
            all->off = 1;
        degrade(state, NULL, REASON_GUARD);
    }
}
