/*   mapping → its file's first mapping, where the ELF header is → PT_GNU_EH_FRAME → {start, FDE} pairs, ascending
 *
 * Everything is read with safe_copy: the header of a module may not be mapped, and a file may lie. */
#include "events/functions.h"

#include "region/elf.h"
#include "region/log.h"
#include "region/runtime.h"

enum { MAX_HEADERS = 64 };
enum { ENCODING_UDATA4 = 0x03, ENCODING_SDATA4_OF_TABLE = 0x3b }; /* the only form that linkers write */

struct table {
    uint64_t bias;    /* of the module */
    uintptr_t start;  /* of .eh_frame_hdr: pairs count from here */
    uint32_t entries; /* 0: none that can be read */
};

struct entry {
    int32_t function, description;
};

static bool copy(void *to, uintptr_t from, size_t size) {
    return safe_copy(to, (const void *)from, size) == size;
}

/* False: no ELF header at `base`. */
static bool find_table(uintptr_t base, struct table *table) {
    struct elf_header header;
    struct program_header program;
    uint64_t base_link = 0, eh_frame = 0;
    bool loaded = false;
    if (!copy(&header, base, sizeof header) || !is_elf(&header))
        return false;
    for (unsigned i = 0; i < header.header_count && i < MAX_HEADERS; i++) {
        if (!copy(&program, base + header.program_headers + i * sizeof program, sizeof program))
            return false;
        if (program.type == PT_LOAD && !loaded) { /* ascending: the first is where the ELF header lies */
            loaded = true;
            base_link = program.address - program.offset;
        }
        if (program.type == PT_GNU_EH_FRAME)
            eh_frame = program.address;
    }
    struct {
        uint8_t version, frame_encoding, count_encoding, table_encoding;
        uint32_t frame, count;
    } found;
    *table = (struct table){.bias = base - base_link};
    if (eh_frame && copy(&found, table->bias + eh_frame, sizeof found) && found.version == 1 &&
        found.count_encoding == ENCODING_UDATA4 && found.table_encoding == ENCODING_SDATA4_OF_TABLE) {
        table->start = table->bias + eh_frame;
        table->entries = found.count;
    }
    return true;
}

static bool entry_start(const struct table *table, uint32_t index, uintptr_t *start) {
    struct entry entry;
    if (!copy(&entry, table->start + 12 + (uintptr_t)index * sizeof entry, sizeof entry))
        return false;
    *start = table->start + (uintptr_t)(intptr_t)entry.function;
    return true;
}

static void search(const struct table *table, const struct range *range, uintptr_t address, struct function *found) {
    uint32_t low = 0, high = table->entries; /* entries before `low` start at or below the address */
    uintptr_t start, best = 0, next = range->end;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (!entry_start(table, middle, &start))
            return;
        if (start <= address) {
            best = start;
            low = middle + 1;
        } else {
            next = start;
            high = middle;
        }
    }
    if (best < range->start || next <= address)
        return;
    found->start = best;
    found->end = next < range->end ? next : range->end;
}

struct function function_at(uintptr_t address) {
    struct function found = {.start = address, .end = address + 1, .link = address, .module = 0};
    const struct range *range = range_known(address);
    struct table table;
    if (!range)
        return found;
    found.module = range->name;
    found.end = range->end;
    if (find_table(range->base, &table)) {
        search(&table, range, address, &found);
        found.link = found.start - table.bias;
    }
    return found;
}
