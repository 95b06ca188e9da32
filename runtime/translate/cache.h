/* The code cache: where translated code lies and how it is found.
 *
 * W^X: the pages of a unit are written while private (read+write), made read+execute, and never written again.  What
 * must change afterwards (links between units) lies in slots, which are data.  An arena holds both, and lies within
 * reach of a 32-bit displacement of the code it translates, if it can.  Nothing is freed before the module is unloaded:
 * translations are made of mappings that stay as long as it does (see ranges in region/runtime.h).
 */
#ifndef STEMRW_CACHE_H
#define STEMRW_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "region/context.h"

struct arena {
    uintptr_t code, next, end; /* next: first free byte, page aligned */
    uintptr_t staged;          /* [next, staged) is writable: the unit being made */
    uint64_t *slots;           /* where a link leads now */
    uint64_t *slot_targets;    /* … and for which source address it is */
    uint32_t slot_count, slot_capacity;
};
enum { MAX_ARENAS = 8, SLOT_BITS = 24 }; /* a slot is named arena << SLOT_BITS | index */

/* What the program has done when control is at a point of the cache.  Ascending in offset; each speaks for the code up
 * to the next. */
struct source_map {
    uint32_t code;  /* offset in the unit | enum source_kind << SOURCE_KIND_SHIFT */
    int32_t source; /* offset from unit.source */
};
enum { SOURCE_KIND_SHIFT = 24 };
enum source_kind {
    SOURCE_INSTRUCTION, /* .source is about to run, or runs: registers as arch/x86_64/exact.c finds them */
    SOURCE_ARRIVING,    /* a branch was taken and leads to .source, or .source was run and what follows is next */
    SOURCE_LOOKUP,  /* .source, an indirect branch, was taken: rcx is in spill[0], where it leads in context.target */
    SOURCE_LOGGING, /* as SOURCE_INSTRUCTION; rax, rdx, and flags if anybody reads them, are in their spill slots */
    SOURCE_RELOAD,  /* as SOURCE_ARRIVING, but the register that is loaded first is still in spill[3] */
};

static inline uint32_t source_map_code(const struct source_map *map) {
    return map->code & ((1u << SOURCE_KIND_SHIFT) - 1);
}

static inline enum source_kind source_map_kind(const struct source_map *map) {
    return (enum source_kind)(map->code >> SOURCE_KIND_SHIFT);
}

struct unit {
    uintptr_t code, end;
    uintptr_t source;
    struct source_map *map;
    uint32_t map_count;
    uint32_t padding;
};

/* A block of watched code, as it was when it was translated. */
struct watched {
    struct watched *next;
    uintptr_t start;
    size_t size;
    uint8_t bytes[];
};

struct translation {
    uintptr_t source; /* 0: free */
    uintptr_t body;   /* 0: forgotten, perhaps to be translated anew */
    uintptr_t entry;  /* for indirect branches: verifies .target, restores rcx; 0: none yet */
};

/* Open addressing.  Read without the lock: it only grows, into a larger one, and this stays for those who read it. */
struct translation_table {
    struct translation_table *smaller;
    uint64_t capacity;
    uint64_t reserved;
    struct translation at[];
};

struct builder;

struct cache {
    struct arena arenas[MAX_ARENAS];
    uint32_t arena_count;
    uint32_t unit_count, unit_capacity;
    struct unit *units;
    struct translation_table *translations;
    uint64_t translation_count;
    uintptr_t metadata, metadata_end; /* of the newest chunk */
    struct chunk *chunks;
    struct watched *watched;
    size_t watched_bytes;
    struct builder *builder;
};

bool cache_create(void);
void cache_destroy(void); /* nothing runs in it, or will */

/* Any time, from a signal handler too. */
struct translation *cache_find(uintptr_t source);

/* All below: under the runtime's lock. */

void cache_drop(uintptr_t start,
                uintptr_t end); /* forget translations of that code; the old units are never found again */
bool cache_watch(uintptr_t start, size_t size); /* false: no memory */
bool cache_is_current(void);                    /* all that is watched is as it was */
bool cache_add(uintptr_t source, uintptr_t body, uintptr_t entry);
struct arena *arena_for(uintptr_t source, size_t bytes);
bool arena_stage(struct arena *arena, size_t bytes); /* make that much from .next on writable */
uint32_t arena_index(const struct arena *arena);
bool arena_slot(struct arena *arena, uint64_t target, uint32_t *slot); /* a new slot for a link to `target` */
bool unit_add(const struct unit *unit);
void *metadata_allocate(size_t size); /* zeroed; NULL: no memory */

/* Any time, from a signal handler too: the source address of a cache address; 0: not in the cache. */
uintptr_t cache_source_of(uintptr_t code);
bool cache_contains(uintptr_t code);

/* Code in the unit around `near`, or elsewhere in the cache, from which a thread may go on that is about to run
 * `source` with the program's own registers; 0: none known. */
uintptr_t cache_code_of(uintptr_t near, uintptr_t source);

/* The same, whole: the entry of the map that speaks for `code`, and its unit; NULL: not in the cache. */
const struct source_map *cache_map_of(uintptr_t code, const struct unit **unit);

/* Not code that control gets to, but one instruction's in another form, after which `next` comes: .source | ALONE. */
#define ALONE (1ul << 63)
struct translation *cache_translate_alone(uintptr_t source, const uint8_t *code, unsigned count, uintptr_t next);

/* Code for `source`, translated if need be; NULL: run it natively, *reason says why. */
struct translation *cache_translate(uintptr_t source, bool entry_needed, enum reason *reason);

#endif
