/* Functions by name: DT_GNU_HASH → chain of symbols with the same hash → DT_SYMTAB, DT_STRTAB.
 *
 *     table: bucket count, first symbol, words of the filter, …; filter; buckets; chain values, low bit: last one
 */
#include "region/loader.h"

#include "region/log.h"

enum { DT_STRTAB = 5, DT_SYMTAB = 6, DT_GNU_HASH = 0x6ffffef5, STT_FUNC = 2, MAX_ENTRIES = 256, LONGEST_CHAIN = 4096 };

struct symbol {
    uint32_t name;
    uint8_t info, other;
    uint16_t section;
    uint64_t value, size;
};

struct tables {
    uint64_t strings, symbols, hash;
};

static bool copy(void *to, uint64_t from, size_t size) {
    return safe_copy(to, (const void *)from, size) == size;
}

static bool find_tables(const struct link_map *map, struct tables *tables) {
    uint64_t entry[2];
    *tables = (struct tables){0};
    for (unsigned i = 0; i < MAX_ENTRIES && copy(entry, map->dynamic + i * sizeof entry, sizeof entry) && entry[0];
         i++) {
        const uint64_t value =
            entry[1] < map->bias ? entry[1] + map->bias : entry[1]; /* glibc relocates them, musl not */
        if (entry[0] == DT_STRTAB)
            tables->strings = value;
        if (entry[0] == DT_SYMTAB)
            tables->symbols = value;
        if (entry[0] == DT_GNU_HASH)
            tables->hash = value;
    }
    return tables->strings && tables->symbols && tables->hash;
}

static uint32_t hash_of(const char *name) {
    uint32_t hash = 5381;
    while (*name)
        hash = hash * 33 + (uint8_t)*name++;
    return hash;
}

static bool is_named(uint64_t at, const char *name) {
    char c;
    for (; copy(&c, at, 1) && c == *name; at++, name++)
        if (!c)
            return true;
    return false;
}

unsigned loader_symbol_values(const struct link_map *map, const char *name, uintptr_t *places, unsigned capacity) {
    struct tables tables;
    uint32_t header[4], index, value, count = 0;
    if (!find_tables(map, &tables) || !copy(header, tables.hash, sizeof header) || !header[0])
        return 0;
    const uint32_t hash = hash_of(name);
    const uint64_t buckets = tables.hash + sizeof header + 8ull * header[2], chain = buckets + 4ull * header[0];
    if (!copy(&index, buckets + 4ull * (hash % header[0]), sizeof index) || index < header[1])
        return 0;
    for (unsigned i = 0; i < LONGEST_CHAIN && count < capacity; i++, index++) {
        struct symbol symbol;
        if (!copy(&value, chain + 4ull * (index - header[1]), sizeof value))
            break;
        if ((value | 1) == (hash | 1) && copy(&symbol, tables.symbols + index * sizeof symbol, sizeof symbol) &&
            (symbol.info & 15) == STT_FUNC && symbol.section && is_named(tables.strings + symbol.name, name))
            places[count++] = tables.symbols + index * sizeof symbol + offsetof(struct symbol, value);
        if (value & 1)
            break;
    }
    return count;
}

unsigned loader_symbols(const struct link_map *map, const char *name, uintptr_t *found, unsigned capacity) {
    const unsigned count = loader_symbol_values(map, name, found, capacity);
    for (unsigned i = 0; i < count; i++) {
        uint64_t value = 0;
        copy(&value, found[i], sizeof value);
        found[i] = map->bias + value;
    }
    return count;
}
