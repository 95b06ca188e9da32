/* An allocator's memory is shared with other threads, and so is what its functions write: undone by bytes, a block
 * could be free twice.  Therefore its functions run natively, on the private stack, and nothing that they write is
 * logged:
 *
 *   malloc, calloc, memalign …    a block that the region is given goes back at rollback
 *   free                          waits for the commit
 *   realloc                       a new block, a copy, and a free that waits
 *
 * They neither unwind nor call back.  A block that the allocator would find fault with runs through its own code as
 * before, in which abort is a fault like others. */
#include "effects/allocator.h"

#include "arch/x86_64/emit.h"
#include "fault/budget.h"
#include "guard/arena.h"
#include "region/log.h"
#include "region/rescue.h"
#include "region/runtime.h"
#include "region/serve.h"
#include "strategy/strategy.h"

enum {
    WAITING_BYTES = 64 << 20, /* beyond, blocks are freed at once, and the region ends */
    WAITING_BLOCKS = 1 << 16,
    LEAST_CHUNK = 32, /* of glibc's, which begin 16 bytes before their blocks: size of the one before, size | 7 bits */
    CHUNK_IN_USE = 1,
    CHUNK_MAPPED = 2,
    OS_ENOMEM = 12,
};

/* labels of arch/x86_64/entry.S */
bool guarded_call(uint64_t function, uint64_t argument, uint64_t *result, uint64_t *guard);

static const struct hooks *hooks(void) {
    return &module_runtime()->hooks;
}

static uint64_t native(uintptr_t function, uint64_t a, uint64_t b) {
    return ((uint64_t (*)(uint64_t, uint64_t))function)(a, b);
}

/* In an altered environment (strategy/retry.c) there is more of it, and it is zero. */
static uint64_t fresh(const struct context *context, uint64_t size) {
    return is_altered(context) ? native(hooks()->calloc, 1, altered_size(size)) : native(hooks()->malloc, size, 0);
}

static uint64_t fresh_aligned(const struct context *context, uint64_t alignment, uint64_t size) {
    const uint64_t wanted = is_altered(context) ? altered_size(size) : size;
    const uint64_t block = native(hooks()->memalign, alignment, wanted);
    for (uint64_t i = 0; block && is_altered(context) && i < wanted; i++)
        ((volatile uint8_t *)block)[i] = 0;
    return block;
}

static uint64_t fresh_array(const struct context *context, uint64_t count, uint64_t size) {
    uint64_t bytes;
    if (!is_altered(context) || __builtin_mul_overflow(count, size, &bytes))
        return native(hooks()->calloc, count, size);
    return fresh(context, bytes);
}

void allocator_free(uintptr_t block) {
    if (arena_holds(block)) {
        arena_free(block);
        return;
    }
    const uint64_t size = module_runtime()->xsave_bytes;
    uint8_t *area = (uint8_t *)(((uintptr_t)__builtin_alloca(size + 64) + 63) & -64ul);
    if (size <= 512) {
        __asm__ volatile("fxsave64 %0" : "=m"(*area)::"memory");
        native(hooks()->free, block, 0);
        __asm__ volatile("fxrstor64 %0" ::"m"(*area) : "memory");
        return;
    }
    for (unsigned i = 512; i < 512 + 64; i++)
        area[i] = 0; /* the header, which xrstor reads */
    __asm__ volatile("xsave64 %0" : "=m"(*area) : "a"(-1), "d"(-1) : "memory");
    native(hooks()->free, block, 0);
    __asm__ volatile("xrstor64 %0" ::"m"(*area), "a"(-1), "d"(-1) : "memory");
}

/* What glibc's free would look at, read carefully. */
static bool is_chunk(uintptr_t block) {
    uint64_t size, next;
    if (safe_copy(&size, (const void *)(block - 8), 8) < 8)
        return false;
    const uint64_t bytes = size & ~7ull;
    if (bytes < LEAST_CHUNK || bytes & 15 || block + bytes < block)
        return false;
    return size & CHUNK_MAPPED || (safe_copy(&next, (const void *)(block + bytes - 8), 8) == 8 && next & CHUNK_IN_USE);
}

/* Bytes of a block in use; false: it is none. */
static bool size_of(struct context *context, uintptr_t block, uint64_t *size) {
    if (block & 7 || (hooks()->glibc && !is_chunk(block)))
        return false;
    return guarded_call(hooks()->usable_size, block, size, &context->guard);
}

/* What a block that waits begins with, as allocators do it too. */
static uint64_t waiting_key(const struct context *context, uintptr_t block) {
    return ((uint64_t)context ^ block) * 0x9e3779b97f4a7c15ull;
}

static bool waits_already(const struct context *context, uintptr_t block) {
    uint64_t left = context->deferred, key = 0;
    if (!is_altered(context) && safe_copy(&key, (const void *)block, sizeof key) == sizeof key &&
        key != waiting_key(context, block))
        return false;
    for (uint64_t at = context->log; left && at > context->log_start;) {
        const struct record record = log_record(at);
        at = (uint64_t)record.data;
        if (record.kind == LOG_FREED && record.operand == block)
            return true;
        left -= record.kind == LOG_FREED || record.kind == LOG_DEFERRED_UNMAP || record.kind == LOG_PUBLISHED;
    }
    return false;
}

bool allocator_free_later(struct context *context, uintptr_t block, uint64_t size) {
    uint64_t data[2] = {size, 0}, key = waiting_key(context, block);
    const bool guarded = arena_holds(block);
    safe_copy(&data[1], (const void *)block, sizeof key);
    if ((size < sizeof key && !guarded) || context->deferred >= WAITING_BLOCKS ||
        context->deferred_bytes + size > WAITING_BYTES || !log_operation(context, LOG_FREED, block, data, 2))
        return false;
    if (guarded)
        arena_free_later(block);
    else if (!is_altered(context)) /* whoever reads it still finds what was there */
        safe_copy((void *)block, &key, sizeof key);
    context->deferred_bytes += size;
    budget_memory(context, -(int64_t)size);
    return true;
}

/* There is room in the log: see allocator_call. */
static uint64_t note(struct context *context, uint64_t block) {
    if (block)
        log_operation(context, LOG_ALLOCATED, block, NULL, 0);
    if (block && budgets_count())
        budget_memory(context, (int64_t)native(hooks()->usable_size, block, 0));
    return block;
}

/* Where the bytes are: no more than is mapped of the old block is read, nor anything written that is not ours. */
static bool reallocate(struct context *context, uintptr_t address, uint64_t old, uint64_t size) {
    uint64_t usable;
    if (!old)
        return hook_return(context, note(context, fresh(context, size)));
    if (waits_already(context, old))
        return raise_fault(context, FAULT_ABORT, address, old);
    if (!size_of(context, old, &usable))
        return false;
    if (size && size <= usable && size >= usable / 2)
        return hook_return(context, old);
    const bool only_frees = !size && payload_header.flags & HEADER_GLIBC;
    const uint64_t block = only_frees ? 0 : fresh(context, size);
    if (!block && !only_frees)
        return hook_return(context, 0);
    if (block)
        safe_copy((void *)block, (const void *)old, size < usable ? size : usable);
    if (!allocator_free_later(context, old, usable)) {
        if (block)
            allocator_free(block);
        go_native(context, address, REASON_LOG_FULL);
        return false;
    }
    return hook_return(context, note(context, block));
}

static bool release(struct context *context, uintptr_t address, uint64_t block) {
    uint64_t usable;
    if (!block)
        return hook_return(context, 0);
    if (waits_already(context, block))
        return is_altered(context) ? hook_return(context, context->registers.general[RAX])
                                   : raise_fault(context, FAULT_ABORT, address, block);
    if (!size_of(context, block, &usable))
        return false;
    if (allocator_free_later(context, block, usable))
        return hook_return(context, context->registers.general[RAX]);
    go_native(context, address, REASON_LOG_FULL);
    return false;
}

static bool allocate_to(struct context *context, uint64_t place, uint64_t alignment, uint64_t size) {
    if (!alignment || alignment & (alignment - 1) || alignment % 8)
        return hook_return(context, OS_EINVAL);
    if (!log_range(context, place, 8))
        return false;
    const uint64_t block = fresh_aligned(context, alignment, size);
    if (!block)
        return hook_return(context, OS_ENOMEM);
    if (safe_copy((void *)place, &block, 8) < 8) {
        allocator_free(block);
        return false; /* its own code faults there */
    }
    note(context, block);
    return hook_return(context, 0);
}

/* Bytes that a call asks for; what its code refuses counts as none. */
static uint64_t wanted(enum hook_kind kind, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t product;
    switch (kind) {
    case HOOK_NEW:
    case HOOK_NEW_ALIGNED:
    case HOOK_MALLOC:
    case HOOK_VALLOC:
        return a;
    case HOOK_CALLOC:
        return __builtin_mul_overflow(a, b, &product) ? 0 : product;
    case HOOK_REALLOCARRAY:
        return __builtin_mul_overflow(b, c, &product) ? 0 : product;
    case HOOK_REALLOC:
    case HOOK_MEMALIGN:
        return b;
    case HOOK_POSIX_MEMALIGN:
        return c;
    default:
        return 0;
    }
}

bool allocator_call(struct context *context, enum hook_kind kind, uintptr_t address) {
    const uint64_t *general = context->registers.general;
    const uint64_t a = general[RDI], b = general[RSI], c = general[RDX];
    uint64_t product;
    if (!hooks()->malloc || !context->depth)
        return false;
    if (!log_has_room(context, 128)) {
        go_native(context, address, REASON_LOG_FULL);
        return false;
    }
    if (kind != HOOK_FREE && budget_exceeded(context, wanted(kind, a, b, c)))
        return raise_fault(context, FAULT_MEMORY_EXHAUSTION, address, address);
    switch (kind) {
    case HOOK_NEW:
    case HOOK_NEW_ALIGNED:
        product = kind == HOOK_NEW ? fresh(context, a) : fresh_aligned(context, b, a);
        if (product)
            return hook_return(context, note(context, product));
        go_native(context, address, REASON_SHARED_STATE);
        return false;
    case HOOK_MALLOC:
        return hook_return(context, note(context, fresh(context, a)));
    case HOOK_CALLOC:
        return hook_return(context, note(context, fresh_array(context, a, b)));
    case HOOK_REALLOC:
        return reallocate(context, address, a, b);
    case HOOK_REALLOCARRAY:
        return __builtin_mul_overflow(b, c, &product) ? false : reallocate(context, address, a, product);
    case HOOK_FREE:
        return release(context, address, a);
    case HOOK_MEMALIGN:
        return hook_return(context, note(context, fresh_aligned(context, a, b)));
    case HOOK_POSIX_MEMALIGN:
        return allocate_to(context, a, b, c);
    case HOOK_VALLOC:
        return hook_return(context, note(context, fresh_aligned(context, OS_PAGE, a)));
    default:
        return false;
    }
}
