#include "events/perf_map.h"

#include "events/functions.h"
#include "events/line.h"
#include "region/runtime.h"
#include "translate/cache.h"

enum { NAMES_BYTES = 32 << 10 };

struct perf_map {
    int32_t process;     /* whose map was begun; a forked child begins its own */
    uint32_t units;      /* of the cache that are in it */
    uint32_t names_used; /* bytes of .names; [0] is the empty name */
    char names[NAMES_BYTES];
};

void perf_map_start(void) {
    struct perf_map *map = os_map(0, (sizeof *map + OS_PAGE - 1) & -OS_PAGE, OS_READ | OS_WRITE, false);
    if (!map)
        return;
    map->names_used = 1;
    module_runtime()->perf_map = map;
    module_state()->slow_entries |= SLOW_PERF_MAP;
}

void perf_map_stop(void) {
    struct perf_map *map = module_runtime()->perf_map;
    if (map)
        os_unmap(map, (sizeof *map + OS_PAGE - 1) & -OS_PAGE);
    module_state()->slow_entries &= ~(uint32_t)SLOW_PERF_MAP;
}

static bool same(const char *a, const char *b) {
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

uint32_t perf_map_name(const char *name) {
    struct perf_map *map = module_runtime()->perf_map;
    if (!map || !*name)
        return 0;
    uint32_t at = 1, length = 0;
    while (at < map->names_used) {
        if (same(map->names + at, name))
            return at;
        while (map->names[at++])
            ;
    }
    while (name[length])
        length++;
    if (length + 1 > NAMES_BYTES - map->names_used)
        return 0;
    for (uint32_t i = 0; i <= length; i++)
        map->names[map->names_used + i] = name[i];
    map->names_used += length + 1;
    return at;
}

static void write_piece(int fd, uintptr_t start, uintptr_t end, const struct function *function) {
    struct line line = {.length = 0};
    put_hex(&line, start);
    put(&line, " ");
    put_hex(&line, end - start);
    put(&line, " [stemrw] ");
    put(&line, module_runtime()->perf_map->names + function->module);
    put(&line, ":0x");
    put_hex(&line, function->link);
    put(&line, "\n");
    os_write(fd, line.text, line.length);
}

/* A unit holds code of several functions: one piece for each stretch that comes from the same. */
static void write_unit(int fd, const struct unit *unit) {
    struct function function = {0, 0, 0, 0};
    uintptr_t start = unit->code;
    for (uint32_t i = 0; i < unit->map_count; i++) {
        uintptr_t source = unit->source + (intptr_t)unit->map[i].source;
        if (source_map_kind(&unit->map[i]) == SOURCE_ARRIVING || (source >= function.start && source < function.end))
            continue;
        uintptr_t here = unit->code + source_map_code(&unit->map[i]);
        if (here > start)
            write_piece(fd, start, here, &function);
        start = here;
        function = function_at(source);
    }
    if (function.end)
        write_piece(fd, start, unit->end, &function);
}

/* Open this process's map; a program begins it anew, since the number may have been somebody else's, while a library's
 * runtime shall not wipe out its program's. */
static int open_map(bool begin) {
    struct line path = {.length = 0};
    put(&path, "/tmp/perf-");
    put_number(&path, os_getpid(), 1);
    put(&path, ".map");
    path.text[path.length] = 0;
    return os_open_own(path.text, begin && payload_header.flags & HEADER_EXECUTABLE);
}

void perf_map_follow(void) {
    struct perf_map *map = module_runtime()->perf_map;
    const struct cache *cache = module_runtime()->cache;
    if (!map)
        return;
    const int process = os_getpid();
    const bool begin = map->process != process;
    if (begin)
        map->units = 0;
    if (map->units == cache->unit_count)
        return;
    const int fd = open_map(begin);
    map->process = process;
    if (fd >= 0)
        for (uint32_t i = map->units; i < cache->unit_count; i++)
            write_unit(fd, &cache->units[i]);
    map->units = cache->unit_count; /* also where nothing can be written: no second attempt for these */
    if (fd >= 0)
        os_close(fd);
}

void perf_map_after_fork(void) {
    const struct perf_map *map = module_runtime()->perf_map;
    if (!map || module_state()->sealed || map->process == os_getpid() || !runtime_lock())
        return;
    perf_map_follow();
    runtime_unlock();
}
