/* Arenas, slots, the table of translations and of units. */
#include "translate/cache.h"

#include "region/log.h"
#include "region/runtime.h"
#include "translate/unit.h"

enum {
    ARENA_CODE_BYTES = 64 << 20,
    ARENA_CODE_PER_SLOT = 128,
    ARENA_LEAST_CODE_BYTES = 1 << 20,
    TRANSLATIONS_AT_FIRST = 1 << 14,
    UNITS_AT_FIRST = 1 << 12,
    METADATA_CHUNK = 1 << 20,
    STAGE_BYTES = 4 << 20,
};
#define REACH ((int64_t)0x78000000) /* of a 32-bit displacement, less the size of arenas and margins */

struct chunk { /* of metadata: this header, then what was allocated */
    struct chunk *older;
    size_t size;
};

static struct cache *cache(void) {
    return module_runtime()->cache;
}

static size_t table_bytes(uint64_t capacity) {
    return sizeof(struct translation_table) + capacity * sizeof(struct translation);
}

static struct translation_table *table_create(uint64_t capacity) {
    struct translation_table *table = os_map(0, table_bytes(capacity), OS_READ | OS_WRITE, false);
    if (table)
        table->capacity = capacity;
    return table;
}

bool cache_create(void) {
    struct cache *made = os_map(0, (sizeof(struct cache) + OS_PAGE - 1) & -OS_PAGE, OS_READ | OS_WRITE, false);
    if (!made)
        return false;
    made->translations = table_create(TRANSLATIONS_AT_FIRST);
    module_runtime()->cache = made;
    made->units = metadata_allocate(UNITS_AT_FIRST * sizeof(struct unit));
    made->builder = builder_create();
    if (!made->translations || !made->units || !made->builder)
        return false;
    made->unit_capacity = UNITS_AT_FIRST;
    return true;
}

void cache_destroy(void) {
    struct cache *owner = cache();
    for (uint32_t i = 0; i < owner->arena_count; i++) {
        const struct arena *arena = &owner->arenas[i];
        os_unmap((void *)arena->code, arena->end - arena->code); /* behind it may be others' mappings: region/room.c */
        os_unmap(arena->slots, arena->slot_capacity * 2 * sizeof(uint64_t));
    }
    for (struct chunk *chunk = owner->chunks; chunk;) {
        struct chunk *older = chunk->older;
        os_unmap(chunk, chunk->size);
        chunk = older;
    }
    for (struct translation_table *table = owner->translations; table;) {
        struct translation_table *smaller = table->smaller;
        os_unmap(table, table_bytes(table->capacity));
        table = smaller;
    }
    builder_destroy(owner->builder);
    os_unmap(owner, (sizeof *owner + OS_PAGE - 1) & -OS_PAGE);
}

/* ---- translations ---- */

static uint64_t hash(uintptr_t source) {
    return (source * 0x9e3779b97f4a7c15ull) >> 20;
}

static struct translation *probe(struct translation_table *table, uintptr_t source) {
    uint64_t slot = hash(source) & (table->capacity - 1);
    for (uintptr_t found; (found = __atomic_load_n(&table->at[slot].source, __ATOMIC_ACQUIRE)) && found != source;)
        slot = (slot + 1) & (table->capacity - 1);
    return &table->at[slot];
}

struct translation *cache_find(uintptr_t source) {
    struct translation *found = probe(__atomic_load_n(&cache()->translations, __ATOMIC_ACQUIRE), source);
    return found->source && found->body ? found : NULL;
}

static bool grow(struct cache *cache) {
    struct translation_table *old = cache->translations, *table = table_create(old->capacity * 2);
    if (!table)
        return false;
    table->smaller = old;
    for (uint64_t i = 0; i < old->capacity; i++)
        if (old->at[i].source)
            *probe(table, old->at[i].source) = old->at[i];
    __atomic_store_n(&cache->translations, table, __ATOMIC_RELEASE);
    return true;
}

/* No code outside links to code inside directly: modules call each other through pointers. */
void cache_drop(uintptr_t start, uintptr_t end) {
    struct translation_table *table = cache()->translations;
    for (uint64_t i = 0; i < table->capacity; i++)
        if ((table->at[i].source & ~ALONE) >= start && (table->at[i].source & ~ALONE) < end)
            table->at[i].body = table->at[i].entry = 0;
    for (struct watched **at = &cache()->watched; *at;)
        if ((*at)->start >= start && (*at)->start < end) {
            cache()->watched_bytes -= (*at)->size;
            *at = (*at)->next;
        } else {
            at = &(*at)->next;
        }
}

bool cache_watch(uintptr_t start, size_t size) {
    struct watched *made = metadata_allocate(sizeof *made + size);
    if (!made)
        return false;
    made->start = start;
    made->size = safe_copy(made->bytes, (const void *)start, size);
    cache()->watched_bytes += made->size;
    made->next = cache()->watched;
    cache()->watched = made;
    return true;
}

static bool is_current(const struct watched *watched) {
    uint8_t now[64];
    for (size_t done = 0, part; done < watched->size; done += part) {
        part = watched->size - done < sizeof now ? watched->size - done : sizeof now;
        if (safe_copy(now, (const void *)(watched->start + done), part) < part)
            return false;
        for (size_t i = 0; i < part; i++)
            if (now[i] != watched->bytes[done + i])
                return false;
    }
    return true;
}

bool cache_is_current(void) {
    for (const struct watched *watched = cache()->watched; watched; watched = watched->next)
        if (!is_current(watched))
            return false;
    return true;
}

bool cache_add(uintptr_t source, uintptr_t body, uintptr_t entry) {
    if (cache()->translation_count * 2 >= cache()->translations->capacity && !grow(cache()))
        return false;
    struct translation *at = probe(cache()->translations, source);
    if (!at->body)
        at->body = body;
    if (!at->entry)
        __atomic_store_n(&at->entry, entry, __ATOMIC_RELEASE);
    if (!at->source) {
        __atomic_store_n(&at->source, source, __ATOMIC_RELEASE); /* last: whoever finds it reads the rest */
        cache()->translation_count++;
    }
    return true;
}

/* ---- arenas ---- */

static bool in_reach(const struct arena *arena, uintptr_t source) {
    int64_t distance = (int64_t)(source - arena->code);
    return distance < REACH && distance > -REACH;
}

/* Reserve an arena near `source`: below it, so that neither the heap behind a program nor the stack is in the way. */
static struct arena *arena_create(uintptr_t source) {
    struct cache *owner = cache();
    if (owner->arena_count == MAX_ARENAS)
        return NULL;
    struct arena *arena = &owner->arenas[owner->arena_count];
    for (size_t code = ARENA_CODE_BYTES; code >= ARENA_LEAST_CODE_BYTES; code /= 4) {
        const uint32_t slots = (uint32_t)(code / ARENA_CODE_PER_SLOT);
        const size_t data = slots * 2 * sizeof(uint64_t);
        uintptr_t start = 0;
        if (!os_room(code + data, OS_NONE))
            continue;
        for (uintptr_t away = 64 << 20; away < 0x70000000 && !start; away += 192 << 20) {
            if (source > away + code + data + (1 << 20))
                start = (uintptr_t)os_map((source - away - code - data) & -OS_PAGE, code + data, OS_NONE, true);
            if (!start)
                start = (uintptr_t)os_map((source + (away << 2)) & -OS_PAGE, code + data, OS_NONE, true);
            if (start && (int64_t)(start - source) >= REACH) {
                os_unmap((void *)start, code + data);
                start = 0;
            }
        }
        if (!start)
            start = (uintptr_t)os_map(0, code + data, OS_NONE, false);
        if (!start)
            continue;
        if (!os_protect((void *)(start + code), data, OS_READ | OS_WRITE)) {
            os_unmap((void *)start, code + data);
            continue;
        }
        *arena = (struct arena){.code = start,
                                .next = start,
                                .end = start + code,
                                .staged = start,
                                .slots = (uint64_t *)(start + code),
                                .slot_targets = (uint64_t *)(start + code) + slots,
                                .slot_capacity = slots};
        owner->arena_count++;
        return arena;
    }
    return NULL;
}

struct arena *arena_for(uintptr_t source, size_t bytes) {
    struct arena *any = NULL;
    for (uint32_t i = 0; i < cache()->arena_count; i++) {
        struct arena *arena = &cache()->arenas[i];
        if (arena->next + bytes > arena->end || arena->slot_count + 4096 > arena->slot_capacity)
            continue;
        if (in_reach(arena, source))
            return arena;
        any = arena;
    }
    struct arena *fresh = arena_create(source);
    return fresh && fresh->next + bytes <= fresh->end ? fresh : any;
}

bool arena_stage(struct arena *arena, size_t bytes) {
    if (arena->next + bytes <= arena->staged)
        return true;
    size_t more = arena->end - arena->staged < STAGE_BYTES ? arena->end - arena->staged : STAGE_BYTES;
    if (!os_protect((void *)arena->staged, more, OS_READ | OS_WRITE))
        return false;
    arena->staged += more;
    return arena->next + bytes <= arena->staged;
}

uint32_t arena_index(const struct arena *arena) {
    return (uint32_t)(arena - cache()->arenas);
}

bool arena_slot(struct arena *arena, uint64_t target, uint32_t *slot) {
    if (arena->slot_count == arena->slot_capacity)
        return false;
    arena->slot_targets[arena->slot_count] = target;
    *slot = arena_index(arena) << SLOT_BITS | arena->slot_count++;
    return true;
}

/* ---- units ---- */

void *metadata_allocate(size_t size) {
    struct cache *owner = cache();
    size = (size + 15) & ~(size_t)15;
    if (owner->metadata + size > owner->metadata_end) {
        size_t bytes = sizeof(struct chunk) + (size > METADATA_CHUNK ? size : METADATA_CHUNK);
        bytes = (bytes + OS_PAGE - 1) & -OS_PAGE;
        struct chunk *made = os_map(0, bytes, OS_READ | OS_WRITE, false);
        if (!made)
            return NULL;
        *made = (struct chunk){owner->chunks, bytes};
        owner->chunks = made;
        owner->metadata = (uintptr_t)(made + 1);
        owner->metadata_end = (uintptr_t)made + bytes;
    }
    void *result = (void *)owner->metadata;
    owner->metadata += size;
    return result;
}

bool unit_add(const struct unit *unit) {
    struct cache *owner = cache();
    if (owner->unit_count == owner->unit_capacity) {
        uint32_t capacity = owner->unit_capacity * 2;
        struct unit *table = metadata_allocate(capacity * sizeof *table);
        if (!table)
            return false;
        for (uint32_t i = 0; i < owner->unit_count; i++)
            table[i] = owner->units[i];
        owner->units = table; /* the old table stays: a signal handler of another thread may be reading it */
        owner->unit_capacity = capacity;
    }
    owner->units[owner->unit_count] = *unit;
    __atomic_store_n(&owner->unit_count, owner->unit_count + 1, __ATOMIC_RELEASE);
    return true;
}

bool cache_contains(uintptr_t code) {
    const struct cache *owner = cache();
    for (uint32_t i = 0; i < owner->arena_count; i++)
        if (code >= owner->arenas[i].code && code < owner->arenas[i].next)
            return true;
    return false;
}

const struct source_map *cache_map_of(uintptr_t code, const struct unit **found) {
    const struct cache *owner = cache();
    uint32_t count = __atomic_load_n(&owner->unit_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = count; i-- > 0;) { /* only after a fault: not worth an order */
        const struct unit *unit = &owner->units[i];
        if (code < unit->code || code >= unit->end)
            continue;
        uint32_t low = 0, high = unit->map_count;
        while (high - low > 1) {
            uint32_t middle = (low + high) / 2;
            if (source_map_code(&unit->map[middle]) <= code - unit->code)
                low = middle;
            else
                high = middle;
        }
        *found = unit;
        return unit->map_count ? &unit->map[low] : NULL;
    }
    return NULL;
}

uintptr_t cache_source_of(uintptr_t code) {
    const struct unit *unit;
    const struct source_map *map = cache_map_of(code, &unit);
    return map ? unit->source + (intptr_t)map->source : 0;
}

uintptr_t cache_code_of(uintptr_t near, uintptr_t source) {
    const struct unit *unit;
    if (!cache_map_of(near, &unit))
        return 0;
    for (uint32_t i = 0; i < unit->map_count; i++)
        if (source_map_kind(&unit->map[i]) == SOURCE_INSTRUCTION &&
            unit->source + (intptr_t)unit->map[i].source == source)
            return unit->code + source_map_code(&unit->map[i]);
    const struct translation *known = cache_find(source);
    return known ? known->body : 0;
}
