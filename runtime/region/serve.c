/* What translated code asks C for.  Runs on the private stack; the program's registers are in context->registers. */
#include "region/serve.h"

#include "arch/x86_64/entry.h"
#include "arch/x86_64/vectors.h"
#include "decode/decode.h"
#include "effects/atomics.h"
#include "effects/effects.h"
#include "effects/hooks.h"
#include "fault/budget.h"
#include "fault/checks.h"
#include "fault/overwrite.h"
#include "fault/stack.h"
#include "guard/calls.h"
#include "region/log.h"
#include "region/masked.h"
#include "region/operand.h"
#include "region/patches.h"
#include "region/rescue.h"
#include "region/runtime.h"
#include "strategy/strategy.h"
#include "translate/cache.h"

#define VSYSCALL_PAGE 0xffffffffff600000ul /* emulated by the kernel when control gets there */

static uint64_t *table(struct context *context) {
    return (uint64_t *)((char *)context + TABLE_OFFSET);
}

static struct mark *top(const struct context *context) {
    return (struct mark *)context->mark;
}

void pop_mark(struct context *context) {
    struct mark *mark = top(context);
    if (!is_slice(mark))
        __atomic_add_fetch(&mark->patch_state->commits, 1, __ATOMIC_RELAXED);
    context->mark -= MARK_BYTES;
    context->depth--;
    context->mark_rsp = context->depth ? top(context)->rsp : 0;
}

void commit_all(struct context *context) {
    if (context->depth)
        shadow_forget(context, 0, ((const struct mark *)context->marks_start + 1)->rsp + 8);
    while (context->depth)
        pop_mark(context);
    context->mark = context->marks_start;
    context->mark_rsp = context->quiet = 0;
    log_commit(context);
}

/* Are there two words below the red zone, for native_without_base?  Dead memory, so that writing its bytes back does no
 * harm. */
static bool has_room_below(uint64_t rsp) {
    enum { RED_ZONE = 128, WORDS = 16 };
    char *words = (char *)(rsp - RED_ZONE - WORDS);
    return safe_copy(words, words, WORDS) == WORDS;
}

void go_native(struct context *context, uintptr_t address, enum reason reason) {
    const struct patch *patch = context->depth ? top(context)->patch : NULL;
    commit_all(context);
    degrade(context->state, patch, reason);
    context->resume = native_address(address);
    const bool about_base = reason == REASON_FOREIGN_GS || reason == REASON_UNSUPPORTED; /* it may use or set it */
    if (about_base && has_room_below(context->registers.general[RSP])) {
        context->target = context->resume;
        context->resume = (uint64_t)&native_without_base;
    }
}

/* Control went to memory that is not code.  The place to tell is where it came from, if that was a call.  Without a
 * checkpoint to go back to, the program faults there itself. */
static bool raise_wild_jump(struct context *context, uintptr_t target) {
    uintptr_t caller = 0;
    if (!in_checkpoint(context)) {
        go_native(context, target, REASON_UNKNOWN_CODE);
        return false;
    }
    safe_copy(&caller, (const void *)context->registers.general[RSP], sizeof caller);
    return raise_fault(context, FAULT_WILD_JUMP, range_known(caller) ? caller - 1 : target, target);
}

/* NULL with *reason: run it natively. */
static struct translation *translation_of(uintptr_t source, bool entry, enum reason *reason, bool *executable) {
    *executable = true;
    if (source >= VSYSCALL_PAGE && source < VSYSCALL_PAGE + OS_PAGE) {
        *reason = REASON_UNKNOWN_CODE;
        return NULL;
    }
    struct translation *found = cache_find(source);
    if (found && (!entry || found->entry))
        return found;
    if (module_state()->sealed) { /* code that cannot even be read is none */
        uint8_t byte;
        *reason = REASON_SEALED;
        *executable = safe_copy(&byte, (const void *)source, sizeof byte) == sizeof byte;
        return NULL;
    }
    if (!runtime_lock()) {
        *reason = REASON_BUSY;
        return NULL;
    }
    found = NULL;
    const struct range *range = range_of(source);
    if (!range) {
        *reason = REASON_UNKNOWN_CODE;
        *executable = module_runtime()->proc_missing;
    } else if (range->flags & RANGE_WRITABLE || !(range->flags & RANGE_FILE)) {
        *reason = REASON_UNKNOWN_CODE;
    } else {
        found = cache_translate(source, entry, reason);
    }
    runtime_unlock();
    return found;
}

/* The program is about to be at `target`, with rsp as in .registers: in a region, or out of it? */
bool go_to(struct context *context, uintptr_t target) {
    const uint64_t rsp = context->registers.general[4];
    quiet_ends(context);
    while (context->depth && rsp > context->mark_rsp) {
        const bool returns = rsp == context->mark_rsp + 8 && in_checkpoint(context) && !is_slice(top(context));
        if (returns && target != top(context)->return_address)
            return raise_fault(context, FAULT_RETURN_ADDRESS, target, context->mark_rsp);
        pop_mark(context);
    }
    uint64_t *entry = &table(context)[target & (TABLE_ENTRIES - 1)];
    if (!context->depth) {
        commit_all(context);
        if (*entry == (uint64_t)&miss)
            *entry = (uint64_t)&leave; /* next time without C */
        context->resume = native_address(target);
        return false;
    }
    if (breakpoint_at_entry(target)) {
        go_native(context, target, REASON_BREAKPOINT);
        return false;
    }
    if (dispatch_check(context, target))
        return true;
    enum reason reason;
    bool executable;
    struct translation *found = translation_of(target, true, &reason, &executable);
    const uintptr_t body = found ? __atomic_load_n(&found->body, __ATOMIC_RELAXED) : 0;
    const uintptr_t behind = found ? __atomic_load_n(&found->entry, __ATOMIC_RELAXED) : 0;
    if (body && behind) { /* another thread may be dropping it */
        *entry = behind;
        context->resume = body;
        return false;
    }
    if (!executable)
        return raise_wild_jump(context, target);
    go_native(context, target, found ? REASON_UNKNOWN_CODE : reason);
    return false;
}

static struct arena *slot_arena(uint32_t slot) {
    return &module_runtime()->cache->arenas[slot >> SLOT_BITS];
}

static uintptr_t slot_target(uint32_t slot) {
    return slot_arena(slot)->slot_targets[slot & ((1u << SLOT_BITS) - 1)];
}

static bool link(struct context *context) {
    uint32_t slot = (uint32_t)context->argument[0];
    uintptr_t target = slot_target(slot);
    if (breakpoint_at_entry(target)) {
        go_native(context, target, REASON_BREAKPOINT);
        return false;
    }
    enum reason reason;
    bool executable;
    struct translation *found = translation_of(target, false, &reason, &executable);
    if (found) {
        __atomic_store_n(&slot_arena(slot)->slots[slot & ((1u << SLOT_BITS) - 1)], found->body, __ATOMIC_RELEASE);
        context->resume = found->body;
        return false;
    }
    if (!executable)
        return raise_wild_jump(context, target);
    go_native(context, target, reason);
    return false;
}

static void enter(struct context *context) {
    uintptr_t target = context->target;
    enum reason reason;
    bool executable;
    if (!context->epoch) { /* used up */
        context->epoch = ~0ull << EPOCH_SHIFT;
        log_new_epoch(context);
    }
    if (translation_of(target, false, &reason, &executable)) {
        context->resume = top(context)->patch_state->translation;
        if (!context->resume) /* an observed function: no checkpoint in its code */
            context->resume = cache_find(target)->body;
        return;
    }
    go_native(context, target, reason);
}

/* Frames younger than the checkpoint need no undo, and those that run no longer none either. */
static bool is_young(const struct context *context, uintptr_t address, size_t size) {
    enum { RED_ZONE = 128 }; /* in use where a slice begins */
    return address >= context->registers.general[RSP] - RED_ZONE &&
           address + size <= context->mark_rsp - (context->slices ? RED_ZONE : 0);
}

/* Nothing more can be undone: that ends the emulation, or was too much for a region that has a budget. */
static bool log_full(struct context *context, uintptr_t source) {
    if (budget_filled(context))
        return raise_fault(context, FAULT_MEMORY_EXHAUSTION, source, source);
    go_native(context, source, REASON_LOG_FULL);
    return false;
}

/* While other threads are alive. */
static bool log_exact(struct context *context, uintptr_t address, size_t size) {
    if (context->quiet || is_young(context, address, size) || store_logged(context, address, size))
        return false;
    const uintptr_t source = cache_source_of(context->resume);
    if (!log_has_room(context, size))
        return log_full(context, source);
    go_native(context, source, REASON_SHARED_STATE);
    return false;
}

/* Of an allocator that is not known by name (a static program's) the same block could end up in a thread's cache,
 * undone by bytes, and in the arena, by operations: there the first locked instruction ends the region. */
static void log_locked(struct context *context, uintptr_t source, uintptr_t address, size_t size) {
    if (context->quiet || is_young(context, address, size))
        return;
    if (allocator_known())
        locked_instruction(context, source, address);
    else
        go_native(context, source, REASON_SHARED_STATE);
}

/* A store of some of its operand's elements. */
static bool log_some(struct context *context, uintptr_t address) {
    const uintptr_t source = slot_target((uint32_t)context->target);
    struct instruction at;
    uint8_t bytes[15];
    return decode(bytes, source_bytes(source, bytes), source, 64, &at) && log_masked(context, &at, bytes, address);
}

static bool log_store(struct context *context) {
    uintptr_t address = context->argument[0];
    size_t size = (uint16_t)context->argument[1];
    if (context->argument[1] & LOG_SEGMENT)
        address += context->owner;
    const bool masked = context->argument[1] & LOG_MASKED;
    if (context->argument[1] & LOG_REACH && overwrites(context, address, size))
        return true;
    if (context->exact && context->argument[1] & LOG_ATOMIC)
        log_locked(context, context->target, address, size);
    else if (context->exact && !masked)
        return log_exact(context, address, size);
    else if (!context->quiet && !(masked ? log_some(context, address) : log_range(context, address, size)))
        return log_full(context, cache_source_of(context->resume));
    return false;
}

/* Where a string of *size bytes that is written downwards, and ends at `end`, begins; what lies below memory that is
 * not mapped is not counted, for nothing gets there. */
static uintptr_t lowest_mapped(uintptr_t end, uint64_t *size) {
    uint8_t byte;
    uintptr_t page = (end - 1) & -OS_PAGE;
    while (end - page < *size && safe_copy(&byte, (const void *)page, 1))
        page -= OS_PAGE;
    if (end - page < *size)
        *size = page + OS_PAGE < end ? end - page - OS_PAGE : 0;
    return end - *size;
}

/* A scatter: every element whose mask bit is set.  False: the log is full. */
static bool log_scatter(struct context *context, const struct instruction *at, const uint8_t *bytes) {
    enum { VECTOR = 64 };
    const uint64_t *general = context->registers.general;
    const uint8_t opcode = bytes[at->opcode_offset], payload = bytes[at->opcode_offset - 1]; /* z L'L b V' aaa */
    const unsigned index_bytes = opcode & 1 ? 8 : 4; /* a0, a2: doublewords; a1, a3: quadwords */
    const unsigned wider = index_bytes > at->operand_bytes ? index_bytes : at->operand_bytes;
    const unsigned count = (VECTOR / 4 << (payload >> 5 & 3)) / wider;
    const uint32_t mask = mask_read(payload & 7);
    union {
        uint8_t bytes[VECTOR];
        int32_t words[VECTOR / 4];
        int64_t quads[VECTOR / 8];
    } index;
    vector_read(index.bytes, at->index);
    for (unsigned i = 0; i < count; i++) {
        const int64_t scaled = (index_bytes == 8 ? index.quads[i] : index.words[i]) * (int64_t)at->scale;
        uint64_t address = (uint64_t)scaled + (uint64_t)(int64_t)at->displacement;
        if (at->base != REG_NONE)
            address += general[at->base];
        if (at->address_size_override)
            address = (uint32_t)address;
        if (at->segment == 0x64)
            address += context->owner;
        if (mask >> i & 1 && !log_range(context, address, at->operand_bytes))
            return false;
    }
    return true;
}

/* A string instruction's bytes from a register on, as far as it is certain that they are accessed. */
static bool check_string(struct context *context, uintptr_t source, const struct instruction *at, uint8_t opcode,
                         unsigned reg) {
    const bool compares = (opcode & 0xf6) == 0xa6; /* cmps, scas: they may end before */
    const uint64_t count = !at->repeat ? 1
                           : compares  ? context->registers.general[RCX] != 0
                                       : context->registers.general[RCX];
    uint64_t address = context->registers.general[reg], size;
    if (at->address_size_override || __builtin_mul_overflow(count, at->operand_bytes, &size) || !size)
        return false;
    if (context->registers.flags & 0x400)
        address -= size - at->operand_bytes;
    return guarded_access(context, source, address, size);
}

static bool check_access(struct context *context) {
    const uintptr_t source = slot_target((uint32_t)context->argument[0]);
    struct instruction at;
    uint8_t bytes[15];
    if (!decode(bytes, source_bytes(source, bytes), source, 64, &at))
        return false;
    const uint8_t opcode = bytes[at.opcode_offset];
    if (at.memory == MEMORY_STRING) {
        const bool source_too = (opcode & 0xf4) == 0xa4 || (opcode & 0xfe) == 0xac; /* movs, cmps; lods */
        if (source_too && check_string(context, source, &at, opcode, RSI))
            return true;
        return (opcode & 0xfe) != 0xac && check_string(context, source, &at, opcode, RDI);
    }
    const bool plain = at.memory == MEMORY_OPERAND && at.access && at.operand_bytes <= OVERHANG_BYTES;
    return plain && guarded_access(context, source, operand_address(context, &at, bytes, source), at.operand_bytes);
}

/* The stores that one inline check does not do for: strings, bit strings, masks, state images, pop to memory, vectors
 * of addresses. */
static bool log_other_store(struct context *context) {
    const uintptr_t source = slot_target((uint32_t)context->argument[0]);
    const uint64_t *general = context->registers.general;
    struct instruction at;
    uint8_t bytes[15];
    if (!decode(bytes, source_bytes(source, bytes), source, 64, &at)) {
        go_native(context, source, REASON_UNKNOWN_INSTRUCTION);
        return false;
    }
    if (at.memory == MEMORY_VECTOR)
        return !log_scatter(context, &at, bytes) && log_full(context, source);
    uint64_t address = at.address_size_override ? (uint32_t)general[RDI] : general[RDI], size = at.operand_bytes;
    if (at.memory == MEMORY_OTHER) { /* movdir64b */
        address = general[modrm_register(&at, bytes)];
        size = 64;
    } else if (at.memory == MEMORY_STRING) {
        uint64_t count = at.repeat ? (at.address_size_override ? (uint32_t)general[RCX] : general[RCX]) : 1;
        if (count > (1ull << 47) / 64)
            count = (1ull << 47) / 64; /* will fault long before */
        size *= count;
        if (context->registers.flags & 0x400 && count) /* DF: downwards */
            address = lowest_mapped(address + at.operand_bytes, &size);
    } else if (at.memory == MEMORY_OPERAND) {
        address = operand_address(context, &at, bytes, source);
        if (size == 0xffff)
            size = module_runtime()->xsave_bytes;
    }
    if (at.memory == MEMORY_OTHER && at.address_size_override)
        address = (uint32_t)address;
    if (at.memory == MEMORY_MASKED && at.segment == 0x64)
        address += context->owner; /* strings and movdir64b have it before the source, and write to es */
    const bool masked = at.memory == MEMORY_MASKED;
    if (!masked && at.stack == STACK_NONE && overwrites(context, address, size))
        return true;
    context->behind = context->resume + at.length;
    if (at.lock && context->exact && at.rip_relative) /* of what length its copy is, is not known */
        go_native(context, source, REASON_SHARED_STATE);
    else if (at.lock && context->exact)
        log_locked(context, source, address, size);
    else if (context->exact && !masked)
        return log_exact(context, address, size);
    else if (!context->quiet &&
             !(masked ? log_masked(context, &at, bytes, address) : log_range(context, address, size)))
        return log_full(context, source);
    return false;
}

/* An unwinder that is about to land in the marked function's caller has put the landing pad over the return address,
 * and rsp there, or a word below for a register that it pops.  A function that restores rsp so too (one that had
 * aligned its stack) returns to where it was called from; what overruns buffers is no address of code. */
static bool about_to_land(const struct context *context, uint64_t rsp) {
    const uint64_t below = context->mark_rsp - rsp;
    uint64_t target = 0;
    return below <= sizeof target && !is_slice(top(context)) &&
           safe_copy(&target, (const void *)context->mark_rsp, sizeof target) &&
           target != top(context)->return_address && range_known(target);
}

/* rsp was loaded, and had been argument[1]: still on the region's stack and below its entry?  Above: the region was
 * left (longjmp, unwinding).  Below where it was may be room for an array, or a coroutine's stack, whose frames are
 * older than the checkpoint while what is pushed there is not logged: log all that lies between. */
static bool stack_loaded(struct context *context) {
    enum { STACK_SPAN = 64 << 20, STEP_DOWN = 1 << 20, RED_ZONE = 128, LANDING = 16 /* see about_to_land */ };
    const uint64_t rsp = context->registers.general[RSP], down = context->argument[1] - rsp;
    const uintptr_t next = slot_target((uint32_t)context->argument[0]);
    quiet_ends(context);
    if ((int64_t)down < 0)
        shadow_forget(context, context->argument[1], rsp + LANDING);
    if (context->depth && context->mark_rsp - rsp >= STACK_SPAN && switch_check(context, next))
        return true;
    while (context->depth &&
           ((rsp > context->mark_rsp && rsp - context->mark_rsp < STACK_SPAN) || about_to_land(context, rsp)))
        pop_mark(context);
    const bool same = context->depth && context->mark_rsp - rsp < STACK_SPAN;
    if (same && ((int64_t)down <= 0 || (down < STEP_DOWN && log_range(context, rsp - RED_ZONE, down + RED_ZONE))))
        return false;
    if (context->depth) {
        go_native(context, next, REASON_STACK_SWITCH);
    } else {
        commit_all(context);
        context->resume = native_address(next);
    }
    return false;
}

/* Emulation ends at `address`: for good, or at an int3, which is a fault unless a debugger or the kernel has put it
 * there.  That takes opening files, which the program may have forbidden itself: no sooner than it would trap. */
static bool end_emulation(struct context *context, uintptr_t address, enum reason reason) {
    const bool own_trap = reason == REASON_BREAKPOINT && in_checkpoint(context) &&
                          *(const uint8_t *)address == BREAKPOINT && !breakpoint_at(address);
    if (own_trap)
        return raise_fault(context, FAULT_TRAP, address, address);
    go_native(context, address, reason);
    return false;
}

uintptr_t program_at(const struct context *context) {
    switch ((enum service)context->service) {
    case SERVICE_DISPATCH:
    case SERVICE_ENTER:
    case SERVICE_SYSCALL_DONE:
        return context->target;
    case SERVICE_LINK:
    case SERVICE_LOG_OTHER:
    case SERVICE_NATIVE:
    case SERVICE_STACK:
    case SERVICE_HOOK:
    case SERVICE_SLICE:
        return slot_target((uint32_t)context->argument[0]);
    default:
        return cache_source_of(context->resume);
    }
}

bool serve(struct context *context) {
    switch ((enum service)context->service) {
    case SERVICE_DISPATCH:
        return go_to(context, context->target);
    case SERVICE_LINK:
        return link(context);
    case SERVICE_LOG:
        return log_store(context);
    case SERVICE_LOG_OTHER:
        return log_other_store(context);
    case SERVICE_SYSCALL:
        return before_syscall(context);
    case SERVICE_SYSCALL_DONE:
        after_syscall(context);
        return false;
    case SERVICE_NATIVE:
        return end_emulation(context, slot_target((uint32_t)context->argument[0]), (enum reason)context->argument[1]);
    case SERVICE_STACK:
        return stack_loaded(context);
    case SERVICE_HOOK:
        return hook_call(context, slot_target((uint32_t)context->argument[0]));
    case SERVICE_CHECK:
        return check_site(context, slot_target((uint32_t)context->argument[0]));
    case SERVICE_GUARD:
        return check_access(context);
    case SERVICE_EPOCH:
        context->epoch = ~0ull << EPOCH_SHIFT;
        log_new_epoch(context);
        return false;
    case SERVICE_TICK:
        return budget_tick(context);
    case SERVICE_ENTER:
        enter(context);
        return false;
    case SERVICE_RETURN:
        return return_check(context);
    case SERVICE_ENTERED:
        strategy_entered(context);
        return false;
    case SERVICE_SLICE:
        slice_arrive(context, slot_target((uint32_t)context->argument[0]));
        return false;
    default:
        return false;
    }
}
