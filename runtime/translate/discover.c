/* Which code goes into a unit: blocks reached by direct control flow from its root.
 *
 * A block ends at a branch, at an address where another block begins or code already translated lies, at a region's
 * entry (a checkpoint must be made there), and where an instruction cannot be carried.  Flags are followed backwards,
 * so that code put before a store need not save those that nobody reads.
 */
#include "arch/x86_64/ticks.h"
#include "effects/hooks.h"
#include "fault/checks.h"
#include "guard/calls.h"
#include "region/log.h"
#include "region/patches.h"
#include "region/runtime.h"
#include "strategy/strategy.h"
#include "translate/unit.h"

enum { PEEK_INSTRUCTIONS = 12 };

static const struct patch *region_at(uintptr_t address) {
    const struct patch *patch = patch_at(address);
    return patch && patch->kind == PATCH_REGION ? patch : NULL;
}

/* Which arithmetic flags may be read at `address` before they are written; all where that cannot be seen soon. */
static uint8_t peek_flags(uintptr_t address) {
    uint8_t undecided = FLAGS_ARITHMETIC, live = 0;
    const struct range *range = range_known(address);
    if (range && range->flags & RANGE_WATCHED) /* it may become other code without this unit being told */
        return FLAGS_ARITHMETIC;
    for (int i = 0; i < PEEK_INSTRUCTIONS && undecided; i++) {
        uint8_t bytes[15];
        struct instruction decoded;
        unsigned available = source_bytes(address, bytes);
        if (!available || !decode(bytes, available, address, 64, &decoded))
            break;
        live |= decoded.flags_read & undecided;
        undecided &= ~(decoded.flags_read | decoded.flags_written);
        if (decoded.flow == FLOW_JUMP)
            address = decoded.target;
        else if (decoded.flow == FLOW_NEXT)
            address += decoded.length;
        else
            break;
    }
    return live | undecided;
}

static int add_block(struct builder *builder, uintptr_t start, bool wants_entry) {
    int known = builder_block_at(builder, start);
    if (known >= 0) {
        builder->blocks[known].wants_entry |= wants_entry;
        return known;
    }
    if (builder->block_count && breakpoint_at_entry(start))
        return -1;
    if (cache_find(start) || builder->block_count == MAX_BLOCKS || builder->instruction_count == MAX_INSTRUCTIONS ||
        !range_of(start))
        return -1;
    builder_add_block(builder, (struct block){.start = start, .wants_entry = wants_entry, .depth = UNKNOWN_DEPTH});
    return (int)builder->block_count - 1;
}

/* A branch target: decoded later, so that what is fallen into follows its block in the unit. */
static void add_target(struct builder *builder, uintptr_t start) {
    if (builder->pending_count < MAX_PENDING)
        builder->pending[builder->pending_count++] = start;
}

/* What the translator does not carry, though the decoder knows it. */
static enum reason refusal(const struct source_instruction *at) {
    const struct instruction *decoded = &at->decoded;
    const uint8_t *bytes = at->bytes;
    if (decoded->flow == FLOW_TRAP) /* raises its signal wherever it stands; whose an int3 is, is asked when it runs */
        return bytes[0] == BREAKPOINT ? REASON_BREAKPOINT : REASON_NONE;
    if (decoded->segment == 0x65)
        return REASON_FOREIGN_GS;
    if ((decoded->bnd_or_other && !reads_base(at)) || decoded->flow == FLOW_FAR)
        return REASON_UNSUPPORTED;
    if (decoded->memory == MEMORY_OTHER && !is_other(at, OTHER_ENTER) && !is_other(at, OTHER_XLAT) &&
        !is_other(at, OTHER_MOVDIR64B))
        return REASON_UNSUPPORTED;
    if (decoded->flow == FLOW_SYSCALL && !(bytes[decoded->opcode_offset] == 0x05 && decoded->opcode_offset))
        return REASON_UNSUPPORTED; /* sysenter, int 0x80 */
    return REASON_NONE;
}

/* Decode one block, after which only the one that it falls into is added. */
static void decode_block(struct builder *builder, uint32_t index) {
    struct block *block = &builder->blocks[index];
    uintptr_t address = block->start;
    block->first = builder->instruction_count;
    block->mark = region_at(address);
    builder->has_mark |= block->mark != NULL;
    block->hook = is_hook(address);
    block->slice = builder->marked_within && slice_place(address);
    if (is_guard_entry(address)) { /* C does all of it */
        block->next = address;
        block->stop = REASON_GUARD;
        return;
    }
    for (;;) {
        block->next = address;
        if (address != block->start &&
            (builder_block_at(builder, address) >= 0 || region_at(address) || is_hook(address) ||
             (builder->marked_within && slice_place(address)) || cache_find(address))) {
            add_block(builder, address, false);
            return;
        }
        if (builder->instruction_count == MAX_INSTRUCTIONS || block->count == 1024)
            return; /* linked to what follows as to another unit */
        struct source_instruction *at = &builder->instructions[builder->instruction_count];
        unsigned available = source_bytes(address, at->bytes);
        if (!available) {
            block->stop = REASON_UNKNOWN_CODE;
            return;
        }
        if (!decode(at->bytes, available, address, 64, &at->decoded)) {
            block->stop = REASON_UNKNOWN_INSTRUCTION;
            return;
        }
        if ((block->stop = refusal(at)))
            return;
        at->address = address;
        at->checks = checks_at(address, &at->decoded, at->bytes);
        builder->instruction_count++;
        block->count++;
        address += at->decoded.length;
        switch (at->decoded.flow) {
        case FLOW_NEXT:
            continue;
        case FLOW_SYSCALL: /* may be left natively by a new thread: what follows is a block with an entry */
        case FLOW_CALL:
        case FLOW_CALL_INDIRECT:
            block->next = address;
            add_block(builder, address, true);
            return;
        case FLOW_BRANCH:
        case FLOW_LOOP:
            block->next = address;
            add_block(builder, address, false);
            add_target(builder, at->decoded.target);
            return;
        case FLOW_JUMP:
        case FLOW_TRANSACTION:
            block->next = 0;
            add_target(builder, at->decoded.target);
            return;
        default:
            block->next = 0;
            return;
        }
    }
}

static uint8_t flags_at(const struct builder *builder, uintptr_t address) {
    int known = builder_block_at(builder, address);
    return known >= 0 ? builder->blocks[known].flags_live : peek_flags(address);
}

static uint8_t flags_after(const struct builder *builder, const struct block *block) {
    if (block->stop || !block->count)
        return FLAGS_ARITHMETIC;
    const struct instruction *last = &builder->instructions[block->first + block->count - 1].decoded;
    switch (last->flow) {
    case FLOW_NEXT:
        return flags_at(builder, block->next);
    case FLOW_JUMP:
    case FLOW_CALL: /* flags travel into the callee: a convention would say no, but code exists that relies on it */
        return flags_at(builder, last->target);
    case FLOW_BRANCH:
    case FLOW_LOOP:
        return flags_at(builder, last->target) | flags_at(builder, block->next);
    default:
        return FLAGS_ARITHMETIC;
    }
}

/* Backwards over all blocks, later ones first: most successors are known by then, the others count as all live. */
static void find_live_flags(struct builder *builder) {
    for (uint32_t b = 0; b < builder->block_count; b++)
        builder->blocks[b].flags_live = FLAGS_ARITHMETIC;
    for (uint32_t b = builder->block_count; b-- > 0;) {
        struct block *block = &builder->blocks[b];
        uint8_t live = flags_after(builder, block);
        for (uint32_t i = block->count; i-- > 0;) {
            struct source_instruction *at = &builder->instructions[block->first + i];
            live = (uint8_t)((live & ~at->decoded.flags_written) | at->decoded.flags_read) & FLAGS_ARITHMETIC;
            at->flags_live = live;
        }
        block->flags_live = live;
    }
}

/* Callees called directly from the unit, while there is room. */
static void add_callees(struct builder *builder, uint32_t *scanned) {
    for (; *scanned < builder->instruction_count && builder->instruction_count < UNIT_FILL; ++*scanned) {
        const struct instruction *decoded = &builder->instructions[*scanned].decoded;
        const int callee = decoded->flow == FLOW_CALL ? add_block(builder, decoded->target, true) : -1;
        if (callee >= 0) {
            builder->blocks[callee].depth = 0;
            return;
        }
    }
}

/* ---- where the return address lies ---- */

static bool follows_call(uintptr_t address) {
    enum { LONGEST = 7 };
    uint8_t before[LONGEST];
    if (safe_copy(before, (const void *)(address - LONGEST), LONGEST) < LONGEST)
        return false;
    if (before[LONGEST - 5] == 0xe8)
        return true;
    for (unsigned length = 2; length <= LONGEST; length++) /* ff /2 */
        if (before[LONGEST - length] == 0xff && (before[LONGEST - length + 1] & 0x38) == 0x10)
            return true;
    return false;
}

/* Whether the thread is about to be at the first instruction of a function, whose caller has just called it, or
 * another that has passed the call on to it. */
static bool at_function_entry(void) {
    const struct context *context = context_current(module_state());
    uintptr_t top;
    return context && safe_copy(&top, (const void *)context->registers.general[RSP], sizeof top) == sizeof top &&
           range_known(top) && follows_call(top);
}

static int32_t depth_after(const struct source_instruction *at) {
    const struct instruction *decoded = &at->decoded;
    const uint8_t opcode = at->bytes[decoded->opcode_offset], extension = at->bytes[decoded->modrm_offset] >> 3 & 7;
    int64_t depth = at->depth;
    if (depth == UNKNOWN_DEPTH)
        return UNKNOWN_DEPTH;
    if (decoded->stack == STACK_PUSH && decoded->flow == FLOW_NEXT) /* what a call pushes is popped by its callee */
        depth += decoded->stack_bytes;
    else if (decoded->stack == STACK_POP)
        depth -= decoded->stack_bytes;
    else if (decoded->stack == STACK_ADJUST && opcode == 0x8d)
        depth -= decoded->displacement;
    else if (decoded->stack == STACK_ADJUST && (opcode == 0x81 || opcode == 0x83) && (extension == 0 || extension == 5))
        depth += extension ? decoded->immediate : -decoded->immediate;
    else if (decoded->stack != STACK_NONE && decoded->flow == FLOW_NEXT)
        return UNKNOWN_DEPTH;
    return depth < 0 || depth > INT32_MAX ? UNKNOWN_DEPTH : (int32_t)depth;
}

static bool give_depth(struct builder *builder, uintptr_t to, int32_t depth) {
    const int block = to ? builder_block_at(builder, to) : -1;
    if (block < 0 || depth == UNKNOWN_DEPTH || builder->blocks[block].depth != UNKNOWN_DEPTH)
        return false;
    builder->blocks[block].depth = depth;
    return true;
}

/* Forwards from the functions' entries: compiled code has one depth at each instruction. */
static void find_depths(struct builder *builder) {
    bool changed = true;
    while (changed) {
        changed = false;
        for (uint32_t b = 0; b < builder->block_count; b++) {
            const struct block *block = &builder->blocks[b];
            int32_t depth = block->depth;
            for (uint32_t i = 0; i < block->count; i++) {
                struct source_instruction *at = &builder->instructions[block->first + i];
                const uint8_t flow = at->decoded.flow;
                at->depth = depth;
                depth = depth_after(at);
                if (flow == FLOW_JUMP || flow == FLOW_BRANCH || flow == FLOW_LOOP)
                    changed |= give_depth(builder, at->decoded.target, depth);
            }
            changed |= give_depth(builder, block->next, depth);
        }
    }
}

enum reason discover(struct builder *builder) {
    uint32_t scanned = 0;
    if (add_block(builder, builder->root, true) < 0)
        return REASON_UNKNOWN_CODE;
    for (uint32_t b = 0; b < builder->block_count; b++) {
        decode_block(builder, b);
        while (b + 1 == builder->block_count && builder->pending_count)
            add_block(builder, builder->pending[--builder->pending_count], false);
        if (b + 1 == builder->block_count)
            add_callees(builder, &scanned);
    }
    const struct block *first = &builder->blocks[0];
    if (first->count == 0 && first->stop && !first->hook && first->stop != REASON_BREAKPOINT)
        return first->stop;
    if (at_function_entry())
        builder->blocks[0].depth = 0;
    find_depths(builder);
    find_live_flags(builder);
    find_loops(builder);
    return REASON_NONE;
}
