/* Which addresses hold code, from /proc/self/maps or else from the dynamic loader: read at start, before the program
 * can lock itself in, and again when control goes to an address that is in none of the mappings known. */
#include "region/runtime.h"

#include "guard/arena.h"

#include "events/perf_map.h"
#include "region/context.h"
#include "region/log.h"
#include "region/patches.h"
#include "translate/cache.h"

struct reader {
    int fd;
    uint8_t *buffer;
    size_t at, filled;
};

static int next_byte(struct reader *reader) {
    if (reader->at == reader->filled) {
        long count = os_read(reader->fd, reader->buffer, sizeof module_runtime()->scratch);
        if (count <= 0)
            return -1;
        reader->at = 0;
        reader->filled = (size_t)count;
    }
    return reader->buffer[reader->at++];
}

static uint64_t read_hex(struct reader *reader, int *stop) {
    uint64_t value = 0;
    for (;;) {
        int c = *stop = next_byte(reader);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return value;
        value = value << 4 | (uint64_t)digit;
    }
}

struct map_line {
    uint64_t start, end, offset, device, inode;
    char permissions[4];
    bool named;    /* has a file's path, or is the vDSO */
    char name[64]; /* the path's last component, printable */
};

static bool is_vdso(const char *name) {
    static const char vdso[] = "[vdso]";
    unsigned at = 0;
    while (at < sizeof vdso && name[at] == vdso[at])
        at++;
    return at == sizeof vdso;
}

/* start-end rwxp offset major:minor inode    path */
static bool read_line(struct reader *reader, struct map_line *line) {
    int c;
    line->start = read_hex(reader, &c);
    if (c != '-')
        return false;
    line->end = read_hex(reader, &c);
    for (int i = 0; i < 4; i++)
        line->permissions[i] = (char)next_byte(reader);
    next_byte(reader);
    line->offset = read_hex(reader, &c);
    line->device = read_hex(reader, &c) << 32;
    line->device |= read_hex(reader, &c);
    line->inode = 0;
    while ((c = next_byte(reader)) >= '0' && c <= '9')
        line->inode = line->inode * 10 + (uint64_t)(c - '0');
    while (c == ' ')
        c = next_byte(reader);
    line->named = line->inode != 0;
    unsigned length = 0, path_length = 0;
    for (; c != '\n' && c >= 0; c = next_byte(reader)) {
        if (path_length < sizeof module_runtime()->path - 1)
            module_runtime()->path[path_length++] = (char)c;
        if (c == '/')
            length = 0;
        else if (length < sizeof line->name - 1)
            line->name[length++] = (char)(c > ' ' && c < 0x7f ? c : '?');
    }
    module_runtime()->path[path_length] = line->name[length] = 0;
    line->named |= is_vdso(line->name);
    return true;
}

void range_add(struct range_list *list, struct range range) {
    if (list->count == MAX_RANGES) {
        list->full = 1;
        return;
    }
    uint32_t at = list->count;
    while (at && list->ranges[at - 1].start >= range.start)
        at--;
    if ((at < list->count && list->ranges[at].start < range.end) || (at && list->ranges[at - 1].end > range.start))
        return;
    for (uint32_t i = list->count++; i > at; i--)
        list->ranges[i] = list->ranges[i - 1];
    list->ranges[at] = range;
}

static void add_line(struct range_list *list, const struct map_line *line, uintptr_t base) {
    uint32_t flags = (line->named ? RANGE_FILE : 0) | (line->permissions[1] == 'w' ? RANGE_WRITABLE : 0) |
                     (line->permissions[3] == 's' ? RANGE_SHARED : 0);
    range_add(list, (struct range){.start = line->start,
                                   .end = line->end,
                                   .base = base,
                                   .flags = flags,
                                   .name = perf_map_name(line->name),
                                   .device = line->device,
                                   .inode = line->inode});
}

/* This module's own code, as the rewriter recorded it: known in any case. */
static void add_own(struct range_list *list) {
    uintptr_t bias = load_bias();
    range_add(list, (struct range){.start = (bias + payload_header.text_start) & -OS_PAGE,
                                   .end = (bias + payload_header.text_end + OS_PAGE - 1) & -OS_PAGE,
                                   .base = bias,
                                   .flags = RANGE_FILE});
}

static void parse(struct reader *reader, struct range_list *list, struct range_list *writable) {
    struct map_line line;
    uint64_t device = 0, inode = 0;
    uintptr_t base = 0;
    while (read_line(reader, &line)) {
        if (line.inode != inode || line.device != device || line.offset == 0)
            base = line.start;
        inode = line.inode;
        device = line.device;
        if (line.permissions[2] == 'x' && line.permissions[0] == 'r')
            add_line(list, &line, base);
        if (line.permissions[1] == 'w' && !arena_holds(line.start))
            add_line(writable, &line, base);
    }
    os_close(reader->fd);
}

/* What is written through another mapping changes under us, and memory files are made for that. */
static void mark_aliased(struct range_list *list, const struct range_list *writable) {
    for (uint32_t i = 0; i < list->count; i++) {
        struct range *range = &list->ranges[i];
        bool aliased = range->flags & RANGE_SHARED;
        for (uint32_t w = 0; range->inode && w < writable->count && !aliased; w++)
            aliased = writable->ranges[w].flags & RANGE_SHARED && writable->ranges[w].inode == range->inode &&
                      writable->ranges[w].device == range->device;
        range->flags |= aliased ? RANGE_WRITABLE : 0;
    }
}

enum { SAMPLES = 16, FIRST_BYTES = 1024, HEADER_BYTES = 64, BUILD_ID_BYTES = 32 };

/* Where the file's build-id begins, counted from range.base; 0: it has none, or not where linkers put it. */
static uint32_t find_build_id(uintptr_t base) {
    static const uint32_t note[] = {4, 20, 3, 0x554e47}; /* sizes of name and contents, NT_GNU_BUILD_ID, "GNU" */
    uint32_t first[FIRST_BYTES / 4];
    const size_t count = safe_copy(first, (const void *)base, sizeof first) / 4;
    for (uint32_t i = 0; i + 9 <= count; i++)
        if (first[i] == note[0] && first[i + 1] == note[1] && first[i + 2] == note[2] && first[i + 3] == note[3])
            return i * 4 + sizeof note;
    return 0;
}

static uint64_t hash_bytes(uint64_t hash, uintptr_t address, size_t size) {
    uint64_t words[HEADER_BYTES / 8] = {0};
    safe_copy(words, (const void *)address, size);
    for (unsigned i = 0; i < size / 8; i++)
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ull;
    return hash;
}

/* What tells a late mapping from another one in its place: its file's header and build-id, or else some of the code. */
static uint64_t identity_of(const struct range *range) {
    uint64_t hash = range->end - range->start;
    if (range->build_id)
        return hash_bytes(hash_bytes(hash, range->base, HEADER_BYTES), range->base + range->build_id, BUILD_ID_BYTES);
    for (unsigned i = 0; i < SAMPLES; i++)
        hash = hash_bytes(hash, range->start + (range->end - range->start - 8) / SAMPLES * i, 8);
    return hash;
}

static void make_late(struct range *range, bool written) {
    range->build_id = find_build_id(range->base);
    range->identity = identity_of(range);
    range->flags |= RANGE_LATE | (written || !range->build_id ? RANGE_WATCHED : 0);
    module_state()->slow_entries |= SLOW_LATE_RANGES;
}

/* What was not there at the start may go again: from now on entries verify it. */
static void mark_late(struct range_list *list, const struct range_list *before) {
    if (!before->count)
        return;
    for (uint32_t i = 0, old = 0; i < list->count; i++) {
        struct range *range = &list->ranges[i];
        while (old < before->count && before->ranges[old].start < range->start)
            old++;
        if (old < before->count && before->ranges[old].start == range->start && before->ranges[old].end == range->end) {
            range->flags |= before->ranges[old].flags & (RANGE_LATE | RANGE_WATCHED);
            range->build_id = before->ranges[old].build_id;
            range->identity = before->ranges[old].identity;
        } else {
            make_late(range, false);
        }
    }
}

static void read_ranges(struct runtime *runtime) {
    if (module_state()->sealed)
        return;
    struct reader reader = {.fd = os_open_read("/proc/self/maps"), .buffer = runtime->scratch};
    runtime->proc_missing = reader.fd < 0;
    uint32_t fresh = !runtime->current_list;
    struct range_list *list = &runtime->lists[fresh];
    struct range_list *writable = &runtime->writable[fresh];
    list->count = list->full = writable->count = writable->full = 0;
    if (reader.fd < 0)
        ranges_from_loader(list, &runtime->facts);
    else
        parse(&reader, list, writable);
    add_own(list);
    mark_aliased(list, writable);
    mark_late(list, &runtime->lists[runtime->current_list]);
    __atomic_store_n(&runtime->current_list, fresh, __ATOMIC_RELEASE);
    runtime->hooks.known = 0;
}

static const struct range *find(const struct range_list *list, uintptr_t address) {
    for (uint32_t low = 0, high = list->count; low < high;) {
        uint32_t middle = (low + high) / 2;
        const struct range *range = &list->ranges[middle];
        if (address < range->start)
            high = middle;
        else if (address >= range->end)
            low = middle + 1;
        else
            return range;
    }
    return NULL;
}

static uint32_t current(void) {
    return __atomic_load_n(&module_runtime()->current_list, __ATOMIC_ACQUIRE);
}

const struct range *range_known(uintptr_t address) {
    return find(&module_runtime()->lists[current()], address);
}

uintptr_t private_until(uintptr_t address) {
    struct runtime *runtime = module_runtime();
    if (arena_holds(address)) /* a page at a time: asked for more, it would be looked up in /proc for each block */
        return (address & -OS_PAGE) + OS_PAGE;
    const struct range *range = find(&runtime->writable[current()], address);
    if (!range && !runtime->writable[current()].full && !runtime->proc_missing && !module_state()->sealed &&
        runtime_lock()) {
        read_ranges(runtime);
        runtime_unlock();
        range = find(&runtime->writable[current()], address);
    }
    return range && !(range->flags & RANGE_SHARED) ? range->end : 0;
}

const struct range *range_of(uintptr_t address) {
    const struct range *range = range_known(address);
    if (!range) {
        read_ranges(module_runtime());
        range = range_known(address);
    }
    return range;
}

void ranges_refresh(void) {
    if (!runtime_lock())
        return;
    read_ranges(module_runtime());
    runtime_unlock();
}

static bool overlaps(uintptr_t start, size_t size) {
    const struct runtime *runtime = module_runtime();
    const struct range_list *list = &runtime->lists[runtime->current_list];
    for (uint32_t i = 0; i < list->count; i++)
        if (list->ranges[i].start < start + size && start < list->ranges[i].end)
            return true;
    return false;
}

/* Code of one file is linked directly: all of it is doubted. */
bool ranges_doubt(uintptr_t start, size_t size) {
    struct state *state = module_state();
    if (state->status != STATUS_READY || !overlaps(start, size))
        return false;
    struct runtime *runtime = module_runtime();
    const bool locked = runtime_lock();
    const struct range_list *list = &runtime->lists[current()];
    uintptr_t from = runtime->doubt_end ? runtime->doubt_start : ~0ul, to = runtime->doubt_end;
    for (uint32_t i = 0; i < list->count && locked; i++)
        for (uint32_t other = 0; other < list->count; other++) {
            const struct range *range = &list->ranges[i], *same = &list->ranges[other];
            if (range->start >= start + size || start >= range->end || same->base != range->base)
                continue;
            from = same->start < from ? same->start : from;
            to = same->end > to ? same->end : to;
        }
    runtime->doubt_start = locked ? from : 0; /* the runtime itself was interrupted: all of it */
    __atomic_store_n(&runtime->doubt_end, locked ? to : ~0ul, __ATOMIC_RELEASE);
    __atomic_or_fetch(&state->slow_entries, SLOW_LATE_RANGES, __ATOMIC_RELEASE);
    if (locked)
        runtime_unlock();
    return true;
}

/* Regions in there are entered by their gates as at first. */
static void forget(uintptr_t start, uintptr_t end) {
    cache_drop(start, end);
    const struct patch *patch = patch_from(start < load_bias() ? 0 : start - load_bias());
    for (; end > load_bias() && patch_next(patch, end - load_bias()); patch++)
        __atomic_store_n(&patch_state_of(patch)->translation, 0, __ATOMIC_RELEASE);
}

static bool late_ranges_are_current(const struct range_list *list) {
    bool same = cache_is_current();
    for (uint32_t i = 0; i < list->count && same; i++)
        if (list->ranges[i].flags & RANGE_LATE)
            same = identity_of(&list->ranges[i]) == list->ranges[i].identity;
    return same;
}

bool ranges_verify(struct context *context) {
    struct runtime *runtime = module_runtime();
    if (!runtime_lock())
        return false;
    struct range_list *list = &runtime->lists[current()];
    const uintptr_t end = __atomic_exchange_n(&runtime->doubt_end, 0, __ATOMIC_ACQUIRE), start = runtime->doubt_start;
    const bool current_late = late_ranges_are_current(list);
    for (uint32_t i = 0; i < list->count && !current_late; i++)
        if (list->ranges[i].flags & RANGE_LATE)
            forget(list->ranges[i].start, list->ranges[i].end);
    if (end)
        forget(start, end);
    if (end || !current_late) {
        module_state()->generation++;
        read_ranges(runtime);
        list = &runtime->lists[current()];
        for (uint32_t i = 0; i < list->count; i++) {
            struct range *range = &list->ranges[i];
            const bool written = range->start < end && start < range->end;
            if (written || range->flags & RANGE_LATE)
                make_late(range, written || range->flags & RANGE_WATCHED);
        }
    }
    context_follow(context);
    runtime_unlock();
    return true;
}

unsigned source_bytes(uintptr_t address, uint8_t *bytes) {
    const struct range *range = range_of(address);
    if (!range)
        return 0;
    unsigned count = range->end - address < 15 ? (unsigned)(range->end - address) : 15;
    for (unsigned i = 0; i < count; i++)
        bytes[i] = ((const uint8_t *)address)[i];
    patches_restore(address, bytes, count);
    return count;
}

/* False: the file cannot be read. */
static bool byte_of_file(uintptr_t address, uint8_t *byte) {
    struct map_line line;
    struct reader maps = {.fd = os_open_read("/proc/self/maps"), .buffer = module_runtime()->scratch};
    if (maps.fd < 0)
        return false;
    bool found = false;
    while (!found && read_line(&maps, &line))
        found = address >= line.start && address < line.end && line.inode;
    os_close(maps.fd);
    int fd = found ? os_open_read(module_runtime()->path) : -1;
    if (fd < 0)
        return false;
    found = os_read_at(fd, byte, 1, line.offset + (address - line.start)) == 1;
    os_close(fd);
    return found;
}

bool breakpoint_at_entry(uintptr_t address) {
    const struct patch *patch = patch_at(address);
    return patch && *(const uint8_t *)address == BREAKPOINT;
}

bool breakpoint_at(uintptr_t address) {
    uint8_t byte;
    if (module_state()->sealed || !runtime_lock())
        return true;
    const bool known = byte_of_file(address, &byte);
    runtime_unlock();
    return known ? byte != BREAKPOINT : os_traced();
}
