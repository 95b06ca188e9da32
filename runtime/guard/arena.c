#include "guard/arena.h"

#include "os/linux.h"
#include "region/runtime.h"

struct guards *guards(void) {
    return (struct guards *)module_state()->guards;
}

void not_guarded(void) {
    __atomic_add_fetch(&module_state()->reasons[REASON_GUARD], 1, __ATOMIC_RELAXED);
}

bool arena_create(struct guards *made) {
    const size_t size = ARENA_PAGES * OS_PAGE;
    if (!os_room(size, OS_NONE))
        return false;
    made->arena = (uintptr_t)os_map(0, size, OS_NONE, false);
    made->arena_size = size;
    made->cursor = 1;
    return made->arena;
}

bool arena_holds(uintptr_t address) {
    const struct guards *all = guards();
    return all && address - all->arena < all->arena_size;
}

static uint32_t page_of(uintptr_t address) {
    return (uint32_t)((address - guards()->arena) / OS_PAGE);
}

static uintptr_t address_of(uint32_t page) {
    return guards()->arena + page * OS_PAGE;
}

struct block_record *arena_block(uintptr_t address) {
    const uint32_t first = guards()->owner[page_of(address)];
    return first ? &guards()->blocks[first] : NULL;
}

static uint32_t first_of(const struct block_record *block) {
    return (uint32_t)(block - guards()->blocks);
}

static uintptr_t end_of(const struct block_record *block) {
    return address_of(first_of(block) + block->pages);
}

static bool protect(uint32_t page, uint32_t count, bool open) {
    if (!os_protect((void *)address_of(page), count * OS_PAGE, open ? OS_READ | OS_WRITE : OS_NONE))
        return false;
    for (uint32_t i = 0; i < count; i++)
        guards()->open[page + i] = open;
    return true;
}

/* A page of the block is taken for another one. */
static void forget(struct block_record *block) {
    const uint32_t first = first_of(block);
    for (uint32_t i = first; i <= first + block->pages; i++)
        if (guards()->owner[i] == first)
            guards()->owner[i] = 0;
    block->state = BLOCK_NONE;
}

static bool is_taken(uint32_t page) {
    const struct block_record *block = arena_block(address_of(page));
    return block && (block->state == BLOCK_USED || block->state == BLOCK_WAITING);
}

/* So many pages in a row that no block needs, from where the last search has ended, and not far from there; 0: none. */
static uint32_t find_run(uint32_t count) {
    enum { STEPS = 256 };
    uint32_t *from = &guards()->cursor, page = *from;
    for (uint32_t steps = 0; steps < count + STEPS; steps++) {
        if (page - *from == count)
            return *from;
        if (page == ARENA_PAGES)
            *from = page = 1;
        if (is_taken(page))
            *from = page = first_of(arena_block(address_of(page))) + arena_block(address_of(page))->pages + 1;
        else
            page++;
    }
    return 0;
}

static uint32_t take_run(uint32_t pages, bool zero) {
    struct guards *all = guards();
    const uint32_t first = find_run(pages + 1);
    if (!first)
        return 0;
    for (uint32_t i = first; i <= first + pages; i++) {
        if (all->owner[i])
            forget(&all->blocks[all->owner[i]]);
        all->owner[i] = (uint16_t)first;
    }
    all->blocks[first] = (struct block_record){.pages = pages, .state = BLOCK_FREED};
    for (uint32_t guard = first - 1; guard <= first + pages; guard += pages + 1)
        if (all->open[guard] && !protect(guard, 1, false))
            return 0;
    if (!protect(first, pages, true))
        return 0;
    if (zero)
        os_discard((void *)address_of(first), pages * OS_PAGE);
    all->cursor = first + pages + 1;
    all->used++;
    return first;
}

static void set_spans(const struct block_record *block, bool used) {
    const uintptr_t end = block->start + block->size;
    struct page_span *span = &guards()->spans[first_of(block)];
    for (uintptr_t page = address_of(first_of(block)); page < end_of(block); page += OS_PAGE, span++) {
        const uintptr_t from = block->start > page ? block->start - page : 0, to = end > page ? end - page : 0;
        *span = used ? (struct page_span){(uint16_t)from, (uint16_t)(to < OS_PAGE ? to : OS_PAGE)}
                     : (struct page_span){0, 0};
    }
}

/* The bytes on either side that hold the pattern. */
static void slack(const struct block_record *block, uintptr_t range[4]) {
    const uintptr_t below = address_of(first_of(block)), above = end_of(block), end = block->start + block->size;
    range[0] = block->start - below > PATTERN_BYTES ? block->start - PATTERN_BYTES : below;
    range[1] = block->start;
    range[2] = end;
    range[3] = above - end > PATTERN_BYTES ? end + PATTERN_BYTES : above;
}

uintptr_t arena_allocate(size_t size, size_t alignment, bool below, bool zero) {
    if (alignment < LEAST_ALIGNMENT)
        alignment = LEAST_ALIGNMENT;
    if (guards()->used >= MOST_BLOCKS || size > (LARGEST_BLOCK - 1) * OS_PAGE || alignment > OS_PAGE ||
        module_state()->sealed || !runtime_lock()) {
        not_guarded();
        return 0;
    }
    const size_t rounded = ((size ? size : 1) + alignment - 1) & -alignment;
    const uint32_t pages = (uint32_t)((rounded + OS_PAGE - 1) / OS_PAGE);
    const uint32_t first = !guards()->off ? take_run(pages, zero) : 0;
    struct block_record *block = &guards()->blocks[first];
    if (first) {
        uintptr_t range[4];
        block->size = size;
        block->start = below ? address_of(first) : end_of(block) - rounded;
        block->state = BLOCK_USED;
        set_spans(block, true);
        slack(block, range);
        for (unsigned side = 0; side < 4; side += 2)
            for (uintptr_t at = range[side]; at < range[side + 1]; at++)
                *(uint8_t *)at = PATTERN;
    } else {
        not_guarded();
    }
    runtime_unlock();
    return first ? block->start : 0;
}

/* Sealed, it cannot be protected, and stays accessible.  False: it is not in that state, another thread was faster. */
static bool set_state(uintptr_t address, enum block_state from, enum block_state to) {
    struct block_record *block = arena_block(address);
    const bool locked = !module_state()->sealed && runtime_lock(), right = block && block->state == from;
    if (right && locked && (from == BLOCK_USED || to == BLOCK_USED))
        protect(first_of(block), block->pages, to == BLOCK_USED);
    if (right) {
        block->state = to;
        set_spans(block, to == BLOCK_USED);
        guards()->used -= to == BLOCK_FREED;
    }
    if (locked)
        runtime_unlock();
    return right;
}

bool arena_free(uintptr_t block) {
    return set_state(block, BLOCK_USED, BLOCK_FREED) || set_state(block, BLOCK_WAITING, BLOCK_FREED);
}

bool arena_free_later(uintptr_t block) {
    return set_state(block, BLOCK_USED, BLOCK_WAITING);
}

void arena_revive(uintptr_t block) {
    set_state(block, BLOCK_WAITING, BLOCK_USED);
}

bool arena_damaged(const struct block_record *block) {
    uintptr_t range[4];
    slack(block, range);
    for (unsigned side = 0; side < 4; side += 2)
        for (uintptr_t at = range[side]; at < range[side + 1]; at++)
            if (*(const uint8_t *)at != PATTERN)
                return true;
    return false;
}

enum fault_class arena_fault(uintptr_t address) {
    const struct block_record *block = arena_block(address);
    const bool inside = block && address < end_of(block);
    return inside && block->state != BLOCK_USED ? FAULT_USE_AFTER_FREE : FAULT_HEAP_OVERFLOW;
}

enum fault_class arena_check(uintptr_t address, size_t size) {
    const struct block_record *block = arena_holds(address) ? arena_block(address) : NULL;
    const bool right =
        block && block->state == BLOCK_USED && address >= block->start && address + size <= block->start + block->size;
    return right || !arena_holds(address) ? FAULT_NONE : arena_fault(address);
}

bool arena_open(uintptr_t address) {
    not_guarded();
    return protect(page_of(address), 1, true);
}

void arena_open_all(void) {
    if (guards() && runtime_lock()) {
        protect(0, ARENA_PAGES, true);
        runtime_unlock();
    }
}
