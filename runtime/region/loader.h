/* The modules that the dynamic loader has loaded, in its order of look-up. */
#ifndef STEMRW_LOADER_H
#define STEMRW_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "region/runtime.h"

enum { MAX_MODULES = 512 };

struct link_map { /* its beginning, of glibc's and of musl's */
    uint64_t bias, name, dynamic, next;
};

bool loader_first(const struct program_facts *facts, struct link_map *map); /* false: none, a static program */
bool loader_next(struct link_map *map);

/* Where its calls that are bound late are bound; 0: it has none. */
uintptr_t loader_resolver(const struct link_map *map);

/* Where the functions of that name lie which the module defines, in each of their versions; how many. */
unsigned loader_symbols(const struct link_map *map, const char *name, uintptr_t *found, unsigned capacity);

/* Where its table of symbols says so: each is a uint64_t, counted from its bias. */
unsigned loader_symbol_values(const struct link_map *map, const char *name, uintptr_t *places, unsigned capacity);

/* The first function of that name in order of look-up, as the dynamic linker finds it, and its module; 0: none. */
uintptr_t loader_definition(const char *name, struct link_map *owner);

#endif
