/* From blocks to executable code: emit, resolve, publish.
 *
 *     blocks, each perhaps behind its entry for indirect branches
 *     cold parts: log requests, links, native exits
 *     literals: original return addresses, targets
 *     (the rest of the last page stays unused: published pages are never written again)
 */
#include "translate/unit.h"

#include "events/perf_map.h"
#include "fault/stack.h"
#include "region/rules.h"
#include "region/runtime.h"

struct builder *builder_create(void) {
    return os_map(0, (sizeof(struct builder) + OS_PAGE - 1) & -OS_PAGE, OS_READ | OS_WRITE, false);
}

void builder_destroy(struct builder *builder) {
    os_unmap(builder, (sizeof *builder + OS_PAGE - 1) & -OS_PAGE);
}

uint32_t builder_literal(struct builder *builder, uint64_t value) {
    for (uint32_t i = builder->literal_count; i-- > 0 && i + 8 > builder->literal_count;)
        if (builder->literals[i] == value)
            return i;
    if (builder->literal_count == MAX_LITERALS) {
        builder->full = true;
        return 0;
    }
    builder->literals[builder->literal_count] = value;
    return builder->literal_count++;
}

void builder_fixup(struct builder *builder, enum fixup_kind kind, uint32_t index) {
    if (builder->fixup_count == MAX_FIXUPS) {
        builder->full = true;
        return;
    }
    builder->fixups[builder->fixup_count++] = (struct fixup){emitted(&builder->out) - 4, index, kind};
}

uint32_t builder_cold(struct builder *builder, struct cold cold) {
    if (builder->cold_count == MAX_COLDS) {
        builder->full = true;
        return 0;
    }
    cold.source = builder->here;
    builder->colds[builder->cold_count] = cold;
    return builder->cold_count++;
}

static uint32_t block_slot(const struct builder *builder, uintptr_t source) {
    uint32_t at = (uint32_t)((source * 0x9e3779b97f4a7c15ull) >> 50) & (BLOCK_HASH - 1);
    while (builder->block_hash[at] && builder->blocks[builder->block_hash[at] - 1].start != source)
        at = (at + 1) & (BLOCK_HASH - 1);
    return at;
}

int builder_block_at(const struct builder *builder, uintptr_t source) {
    return (int)builder->block_hash[block_slot(builder, source)] - 1;
}

void builder_add_block(struct builder *builder, struct block block) {
    builder->blocks[builder->block_count++] = block;
    builder->block_hash[block_slot(builder, block.start)] = (uint16_t)builder->block_count;
}

static void emit_literals(struct builder *builder) {
    while ((uintptr_t)builder->out.at & 7)
        emit8(&builder->out, 0xcc);
    for (uint32_t i = 0; i < builder->literal_count; i++) {
        builder->literal_at[i] = emitted(&builder->out);
        emit64(&builder->out, builder->literals[i]);
    }
}

static void resolve(struct builder *builder) {
    for (uint32_t i = 0; i < builder->fixup_count; i++) {
        const struct fixup *fixup = &builder->fixups[i];
        uint32_t target = fixup->kind == FIXUP_BLOCK  ? builder->blocks[fixup->index].body
                          : fixup->kind == FIXUP_COLD ? builder->colds[fixup->index].at
                                                      : builder->literal_at[fixup->index];
        int32_t displacement = (int32_t)(target - (fixup->at + 4));
        uint8_t *at = builder->out.start + fixup->at;
        for (int b = 0; b < 4; b++)
            at[b] = (uint8_t)((uint32_t)displacement >> 8 * b);
    }
}

static void reset(struct builder *builder, uintptr_t root, struct arena *arena) {
    for (uint32_t i = 0; i < BLOCK_HASH; i++)
        builder->block_hash[i] = 0;
    builder->pending_count = builder->block_count = builder->instruction_count = builder->fixup_count = 0;
    builder->literal_count = builder->cold_count = builder->map_count = 0;
    builder->has_mark = builder->full = false;
    builder->shadowed = stack_guarded();
    builder->marked_within = rule_planned(RULE_SLICE) && root - load_bias() - payload_header.text_start <
                                                             payload_header.text_end - payload_header.text_start;
    builder->root = root;
    builder->arena = arena;
    builder->out =
        (struct emitter){(uint8_t *)arena->next, (uint8_t *)arena->next, (uint8_t *)arena->next + MAX_UNIT_BYTES};
}

/* Every entry compares all of it: beyond that much it is left to run natively. */
enum { WATCHED_MOST = 64 << 10 };

static bool is_watched(uintptr_t source) {
    const struct range *range = range_known(source);
    return range && range->flags & RANGE_WATCHED;
}

static bool watch(const struct builder *builder, const struct block *block) {
    if (!block->count || !is_watched(block->start))
        return true;
    const struct source_instruction *last = &builder->instructions[block->first + block->count - 1];
    return cache_watch(block->start, last->address + last->decoded.length - block->start);
}

/* Make the unit executable and known.  Nothing of it was reachable before. */
static enum reason publish(struct builder *builder) {
    struct arena *arena = builder->arena;
    size_t bytes = emitted(&builder->out), pages = (bytes + OS_PAGE - 1) & -OS_PAGE;
    uintptr_t start = (uintptr_t)builder->out.start;
    struct source_map *map = metadata_allocate(builder->map_count * sizeof *map); /* before the pages are closed */
    if (!map)
        return REASON_NO_MEMORY;
    arena->next = start + pages; /* first: a child that is forked in between must not write to pages that are closed */
    if (!os_protect((void *)start, pages, OS_READ | OS_EXECUTE)) {
        arena->next = start;
        return REASON_NO_EXECUTABLE;
    }
    for (uint32_t i = 0; i < builder->map_count; i++)
        map[i] = builder->map[i];
    struct unit unit = {start, start + bytes, builder->root, map, builder->map_count, 0};
    if (!unit_add(&unit))
        return REASON_NO_MEMORY;
    for (uint32_t c = 0; c < builder->cold_count; c++)
        if (builder->colds[c].kind == COLD_LINK)
            arena->slots[builder->colds[c].slot & ((1u << SLOT_BITS) - 1)] = start + builder->colds[c].at;
    for (uint32_t b = 0; b < builder->block_count; b++) {
        const struct block *block = &builder->blocks[b];
        if (!watch(builder, block) ||
            !cache_add(block->start, start + block->body, block->entry ? start + block->entry - 1 : 0))
            return REASON_NO_MEMORY;
        if (block->mark)
            __atomic_store_n(&patch_state_of(block->mark)->translation, start + builder->gate[b], __ATOMIC_RELEASE);
    }
    struct state *state = module_state();
    state->units++;
    state->unit_bytes += bytes;
    perf_map_follow();
    return REASON_NONE;
}

static enum reason stage(struct builder *builder, uintptr_t source) {
    struct arena *arena = arena_for(source, MAX_UNIT_BYTES + OS_PAGE);
    if (!arena)
        return REASON_NO_MEMORY;
    reset(builder, source, arena);
    return arena_stage(arena, MAX_UNIT_BYTES) ? REASON_NONE : REASON_NO_MEMORY;
}

static enum reason finish(struct builder *builder) {
    for (uint32_t c = 0; c < builder->cold_count; c++) /* emitting one may add others */
        emit_cold(builder, &builder->colds[c]);
    emit_literals(builder);
    if (builder->full || builder->out.at > builder->out.end)
        return REASON_NO_MEMORY;
    resolve(builder);
    return publish(builder);
}

static enum reason translate(struct builder *builder, uintptr_t source) {
    enum reason reason = stage(builder, source);
    if (!reason)
        reason = discover(builder);
    if (reason)
        return reason;
    for (uint32_t b = 0; b < builder->block_count; b++)
        emit_block(builder, &builder->blocks[b], b + 1 < builder->block_count ? builder->blocks[b + 1].start : 0);
    return finish(builder);
}

/* An entry for indirect branches to a block that was first met by direct ones. */
static enum reason add_entry(struct builder *builder, struct translation *known) {
    enum reason reason = stage(builder, known->source);
    if (reason)
        return reason;
    emit_entry_only(builder, known->source, known->body);
    emit_literals(builder);
    resolve(builder);
    uintptr_t entry = (uintptr_t)builder->out.start;
    reason = publish(builder);
    if (!reason)
        known->entry = entry;
    return reason;
}

struct translation *cache_translate_alone(uintptr_t source, const uint8_t *code, unsigned count, uintptr_t next) {
    struct builder *builder = module_runtime()->cache->builder;
    if (is_watched(source) || stage(builder, source))
        return NULL;
    emit_alone(builder, code, count, next);
    const uintptr_t body = (uintptr_t)builder->out.start;
    return !finish(builder) && cache_add(source | ALONE, body, 0) ? cache_find(source | ALONE) : NULL;
}

struct translation *cache_translate(uintptr_t source, bool entry_needed, enum reason *reason) {
    struct builder *builder = module_runtime()->cache->builder;
    struct translation *known = cache_find(source);
    if (!known) {
        if (is_watched(source) && module_runtime()->cache->watched_bytes > WATCHED_MOST) {
            *reason = REASON_UNKNOWN_CODE;
            return NULL;
        }
        if ((*reason = translate(builder, source)))
            return NULL;
        known = cache_find(source);
    }
    if (known && entry_needed && !known->entry && (*reason = add_entry(builder, known)))
        return NULL;
    return known;
}
