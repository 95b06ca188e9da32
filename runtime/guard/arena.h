/* Guarded blocks: heap blocks that lie between inaccessible pages, and stay inaccessible for long once they are freed.
 *
 *     … │ guard │ slack, block (ends on its alignment), slack │ guard │ …        GUARD_BELOW: block, slack │ guard
 *                                                             a page's end
 *
 * The arena is reserved once.  Runs of pages are taken in turn, round and round, so that a freed one is the last to be
 * taken again; its contents stay until then.  Where there is no room the program's own allocator is asked.
 */
#ifndef STEMRW_ARENA_H
#define STEMRW_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guard/redirect.h"
#include "include/abi.h"

enum {
    ARENA_PAGES = 1 << 14,
    LARGEST_BLOCK = 256,   /* pages; glibc maps blocks of that size anyway */
    MOST_BLOCKS = 1 << 12, /* in use, or waiting, at once: each splits two mappings, of which a process has 65,530 */
    LEAST_ALIGNMENT = 16,
    PATTERN_BYTES = 64, /* of slack on either side that hold a pattern; looked at when the block is freed */
    PATTERN = 0xb7,
};

enum block_state {
    BLOCK_NONE,
    BLOCK_USED,
    BLOCK_WAITING, /* freed in a region: for ever, once that commits */
    BLOCK_FREED,
};

struct block_record {
    uint64_t start, size; /* as asked for */
    uint32_t pages;       /* that hold it; the guard behind them not counted */
    uint32_t state;       /* enum block_state */
};

/* Of a page: the bytes that are a block in use, for translated code, which asks no further for an access that lies in
 * them (arch/x86_64/rules_guard.c).  0, 0: none. */
struct page_span {
    uint16_t from, to;
};

/* What a module with guards has, mapped at its start, for as long as the process lives. */
struct guards {
    uintptr_t arena, arena_size;
    uintptr_t original[CALLS]; /* the program's own functions, by enum guarded_call; 0: not known */
    uint32_t cursor;           /* page at which the next search begins */
    uint32_t used;             /* blocks, those that wait too */
    uint32_t off;              /* no block is given */
    uint32_t padding;
    uint16_t owner[ARENA_PAGES]; /* first page of the block that the page belongs to, as guard too; 0: none */
    uint8_t open[ARENA_PAGES];   /* can be accessed */
    struct page_span spans[ARENA_PAGES];
    struct block_record blocks[ARENA_PAGES]; /* by first page */
};

struct guards *guards(void); /* NULL: this module guards nothing */

/* Counted: REASON_GUARD. */
void not_guarded(void);

bool arena_create(struct guards *made);

/* Whether the address lies in the arena. */
bool arena_holds(uintptr_t address);

/* The block that the page at an address of the arena belongs to; NULL: none. */
struct block_record *arena_block(uintptr_t address);

/* A block; 0: there is no room, or it is too large. */
uintptr_t arena_allocate(size_t size, size_t alignment, bool below, bool zero);

/* It is inaccessible from now on; what is freed later may be revived.  False: it was not in use. */
bool arena_free(uintptr_t block);
bool arena_free_later(uintptr_t block);
void arena_revive(uintptr_t block);

/* Somebody has written beside the block, no further than to the end of its page. */
bool arena_damaged(const struct block_record *block);

/* What an access there is: FAULT_NONE, where the block is in use and holds all of it. */
enum fault_class arena_check(uintptr_t address, size_t size);

/* What an access that has found a page of the arena inaccessible is. */
enum fault_class arena_fault(uintptr_t address);

/* Native code has run into an inaccessible page: it goes on as without a guard.  False: there is no memory for that. */
bool arena_open(uintptr_t address);

/* The program is about to lock itself in: none can be opened then. */
void arena_open_all(void);

#endif
