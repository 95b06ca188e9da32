/* The dynamic loader's list of modules: for code ranges where /proc is missing (chroot, early boot), and for symbols.
 *
 *   auxiliary vector → program headers of the program → PT_DYNAMIC → DT_DEBUG → struct r_debug → link_map of each
 * module → its ELF header, at its load address → its executable PT_LOADs
 *
 * Everything is read with safe_copy: a loader that does things differently makes the list shorter, no more.
 */
#include "region/loader.h"

#include "region/elf.h"
#include "region/log.h"
#include "region/runtime.h"

enum { MAX_HEADERS = 64 };

static bool copy(void *to, uint64_t from, size_t size) {
    return safe_copy(to, (const void *)from, size) == size;
}

static void add_segments(struct range_list *list, uint64_t headers, unsigned count, uint64_t bias) {
    for (unsigned i = 0; i < count && i < MAX_HEADERS; i++) {
        struct program_header header;
        if (!copy(&header, headers + i * sizeof header, sizeof header))
            return;
        if (header.type == PT_LOAD && header.flags & PF_X)
            range_add(list, (struct range){.start = (bias + header.address) & -OS_PAGE,
                                           .end = (bias + header.address + header.memory_size + OS_PAGE - 1) & -OS_PAGE,
                                           .base = bias,
                                           .flags = RANGE_FILE});
    }
}

static void add_module(struct range_list *list, uint64_t bias) {
    struct elf_header header;
    if (!copy(&header, bias, sizeof header) || !is_elf(&header))
        return;
    add_segments(list, bias + header.program_headers, header.header_count, bias);
}

/* Value of a DT_DEBUG entry, or 0. */
static uint64_t debug_structure(uint64_t dynamic) {
    uint64_t entry[2];
    for (; copy(entry, dynamic, sizeof entry) && entry[0]; dynamic += sizeof entry)
        if (entry[0] == DT_DEBUG)
            return entry[1];
    return 0;
}

/* The program: its load bias, and where its PT_DYNAMIC lies; 0: nowhere. */
static uint64_t program_dynamic(const struct program_facts *facts, uint64_t *bias) {
    struct program_header header;
    uint64_t dynamic = 0;
    *bias = 0;
    for (unsigned i = 0; i < facts->header_count && i < MAX_HEADERS; i++) {
        if (!copy(&header, facts->headers + i * sizeof header, sizeof header))
            return 0;
        if (header.type == PT_PHDR) /* where the headers say they are */
            *bias = facts->headers - header.address;
        if (header.type == PT_DYNAMIC)
            dynamic = header.address;
    }
    return dynamic ? *bias + dynamic : 0;
}

bool loader_first(const struct program_facts *facts, struct link_map *map) {
    uint64_t bias, at;
    const uint64_t dynamic = program_dynamic(facts, &bias), debug = dynamic ? debug_structure(dynamic) : 0;
    return debug && copy(&at, debug + 8, sizeof at) && /* struct r_debug: version, then the first link_map */
           at && copy(map, at, sizeof *map);
}

bool loader_next(struct link_map *map) {
    return map->next && copy(map, map->next, sizeof *map);
}

uintptr_t loader_resolver(const struct link_map *map) {
    enum { DT_PLTGOT = 3, MAX_ENTRIES = 256 };
    uint64_t entry[2], table[3];
    for (unsigned i = 0; i < MAX_ENTRIES && copy(entry, map->dynamic + i * sizeof entry, sizeof entry) && entry[0]; i++)
        if (entry[0] == DT_PLTGOT) /* its own dynamic section, its link_map, the resolver */
            return copy(table, entry[1] < map->bias ? entry[1] + map->bias : entry[1], sizeof table) ? table[2] : 0;
    return 0;
}

uintptr_t loader_definition(const char *name, struct link_map *owner) {
    uintptr_t address;
    bool more = loader_first(&module_runtime()->facts, owner);
    for (unsigned i = 0; more && i < MAX_MODULES; i++, more = loader_next(owner))
        if (loader_symbols(owner, name, &address, 1))
            return address;
    return 0;
}

void ranges_from_loader(struct range_list *list, const struct program_facts *facts) {
    uint64_t bias;
    program_dynamic(facts, &bias);
    add_segments(list, facts->headers, facts->header_count, bias);
    add_module(list, facts->vdso);
    struct link_map map;
    bool more = loader_first(facts, &map);
    for (unsigned i = 0; more && i < MAX_MODULES; i++, more = loader_next(&map))
        if (map.bias && map.bias != bias)
            add_module(list, map.bias);
}
