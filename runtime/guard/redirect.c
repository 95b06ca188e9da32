/* link_map → its dynamic section → relocations by a symbol's name → the slots that hold one of the allocator's functions
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

/* The module's own function, or a stub whose address stands for the function in the whole process: its slot is redirected
 * too. */
static bool needs_none(uintptr_t address, const struct link_map *module) {
    const struct range *range = range_known(address);
    return is_stub(address, true) || (range && range->base == module->bias);
}

static bool replace(uintptr_t slot, uint64_t from, uint64_t to) {
    uint64_t expected[2] = {from, 0}, desired[2] = {to, 0};
    int done = safe_exchange(slot, sizeof from, expected, desired);
    if (done >= 0)
        return done;
    void *page = (void *)(slot & -OS_PAGE);
    if (!os_protect(page, OS_PAGE, OS_READ | OS_WRITE))
        return false;
    done = safe_exchange(slot, sizeof from, expected, desired);
    os_protect(page, OS_PAGE, OS_READ);
    return done == 1;
}

/* False: a guarded block could get past us there. */
static bool redirect_slot(const struct link_map *module, const struct relocation *at, enum guarded_call call,
                          struct late_module *late) {
    const uintptr_t slot = module->bias + at->place, original = guards()->original[call];
    uint64_t now;
    if (slot & 7 || !original || safe_copy(&now, (const void *)slot, sizeof now) < sizeof now)
        return true;
    if (!is_entry(now)) {
        if (now != original && !(at->type == R_JUMP_SLOT && is_stub(now, false)))
            return at->type == R_64 || needs_none(now, module);
        if (!replace(slot, now, entry_of(call)))
            return false;
    }
    late->slot = at->type == R_64 ? late->slot : slot;
    return true;
}

static bool redirect_table(const struct link_map *module, const uint64_t *tags, uint64_t table, uint64_t size,
                           struct late_module *late) {
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
            if (call >= 0 && !redirect_slot(module, &some[i], (enum guarded_call)call, late))
                return false;
        }
    }
    return true;
}

static bool redirect_module(const struct link_map *module, struct late_module *late) {
    enum { MAX_ENTRIES = 256 };
    uint64_t entry[2], tags[DT_TAGS] = {0};
    *late = (struct late_module){.dynamic = module->dynamic};
    for (unsigned i = 0; i < MAX_ENTRIES; i++) {
        if (safe_copy(entry, (const void *)(module->dynamic + i * sizeof entry), sizeof entry) < sizeof entry || !entry[0])
            break;
        if (entry[0] >= DT_TAGS)
            continue;
        const bool is_size = entry[0] == DT_RELASZ || entry[0] == DT_PLTRELSZ;
        tags[entry[0]] = !is_size && entry[1] < module->bias ? entry[1] + module->bias : entry[1]; /* musl's: as linked */
    }
    return redirect_table(module, tags, tags[DT_RELA], tags[DT_RELASZ], late) &&
           redirect_table(module, tags, tags[DT_JMPREL], tags[DT_PLTRELSZ], late);
}

/* The library is never unloaded: its entries stand in others' tables. */
static bool pin(const struct link_map *self) {
    struct link_map owner;
    typedef void *open(const char *, int);
    const uintptr_t dlopen = loader_definition("dlopen", &owner);
    return payload_header.flags & HEADER_EXECUTABLE || (dlopen && ((open *)dlopen)((const char *)self->name, RTLD_PINNED));
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

static bool redirect_all(struct guards *all) {
    struct link_map module;
    struct late_module unused;
    const struct program_facts *facts = &module_runtime()->facts;
    uint64_t at = 0;
    bool more = loader_first(facts, &module), done = more;
    for (; more && done; more = loader_next(&module)) {
        done = redirect_module(&module, &unused);
        all->last = at;
        at = module.next;
    }
    return done;
}

void guards_start(void) {
    struct state *state = module_state();
    struct link_map self;
    if (state->status != STATUS_READY || state->guards || !rule_of(NULL, RULE_GUARD_SITE))
        return;
    struct guards *all = os_map(0, (sizeof *all + OS_PAGE - 1) & -OS_PAGE, OS_READ | OS_WRITE, false);
    bool done = all && look_up(all, &self) && pin(&self) && arena_create(all);
    if (done) {
        state->guards = (uint64_t)all;
        done = redirect_all(all);
    }
    if (!done) { /* what was redirected goes on to the originals */
        if (all)
            all->off = 1;
        degrade(state, NULL, REASON_GUARD);
    }
}

/* The modules behind those of the start, in the loader's order: the same as last time, with our entries in them? */
static bool are_known(const struct guards *all) {
    struct link_map module = {.next = all->last};
    uint32_t count = 0;
    for (; loader_next(&module); count++) {
        uint64_t now = 0;
        const struct late_module *late = &all->late[count];
        if (count == all->late_count || late->dynamic != module.dynamic)
            return false;
        if (late->slot && (safe_copy(&now, (const void *)late->slot, sizeof now) < sizeof now || !is_entry(now)))
            return false;
    }
    return count == all->late_count;
}

bool redirect_late(void) {
    struct guards *all = guards();
    if (are_known(all))
        return true;
    struct link_map module = {.next = all->last};
    for (all->late_count = 0; loader_next(&module); all->late_count++)
        if (all->late_count == LATE_MODULES || !redirect_module(&module, &all->late[all->late_count])) {
            all->off = 1; /* nothing more is guarded */
            return false;
        }
    return true;
}
