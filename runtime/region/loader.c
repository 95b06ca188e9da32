/* Code ranges where /proc is missing (chroot, early boot): from the dynamic loader's list of modules.
 *
 *   auxiliary vector → program headers of the program → PT_DYNAMIC → DT_DEBUG → struct r_debug → link_map of each
 * module → its ELF header, at its load address → its executable PT_LOADs
 *
 * Everything is read with safe_copy: a loader that does things differently makes the list shorter, no more.
 */
#include "region/elf.h"
#include "region/log.h"
#include "region/runtime.h"

enum { MAX_MODULES = 512, MAX_HEADERS = 64 };

struct link_map {
    uint64_t bias, name, dynamic, next;
};

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

void ranges_from_loader(struct range_list *list, const struct program_facts *facts) {
    uint64_t bias = 0, dynamic = 0, at;
    struct program_header header;
    for (unsigned i = 0; i < facts->header_count && i < MAX_HEADERS; i++) {
        if (!copy(&header, facts->headers + i * sizeof header, sizeof header))
            return;
        if (header.type == PT_PHDR) /* where the headers say they are */
            bias = facts->headers - header.address;
        if (header.type == PT_DYNAMIC)
            dynamic = header.address;
    }
    add_segments(list, facts->headers, facts->header_count, bias);
    add_module(list, facts->vdso);
    uint64_t debug = dynamic ? debug_structure(bias + dynamic) : 0;
    if (!debug || !copy(&at, debug + 8, sizeof at)) /* struct r_debug: version, then the first link_map */
        return;
    struct link_map map;
    for (unsigned i = 0; at && i < MAX_MODULES && copy(&map, at, sizeof map); i++, at = map.next)
        if (map.bias && map.bias != bias)
            add_module(list, map.bias);
}
