#include "region/log.h"

#include "arch/x86_64/unistd.h"
#include "effects/allocator.h"
#include "effects/positions.h"
#include "effects/words.h"
#include "fault/handlers.h"
#include "guard/arena.h"
#include "os/linux.h"
#include "region/fresh.h"
#include "region/runtime.h"
#include "strategy/strategy.h"

enum { KIND_SHIFT = 56, WIDE_ENTRIES = 1 << 16, MREMAP_MAYMOVE_FIXED = 3 };
#define WIDE_BYTES (WIDE_ENTRIES * sizeof(uint64_t))
#define LOG_LARGEST (1ul << 30)
#define LOG_LEAST (1ul << 20)

struct trailer {
    uint64_t operand;
    uint64_t size; /* | kind << KIND_SHIFT */
};

/* The second, larger filter lies in front of the log. */
static uint64_t *wide(const struct context *context) {
    return (uint64_t *)(context->log_start - WIDE_BYTES);
}
static uint64_t *narrow(struct context *context) {
    return (uint64_t *)((char *)context + FILTER_OFFSET);
}

bool log_create(struct context *context) {
    for (size_t size = LOG_LARGEST; size >= LOG_LEAST; size /= 4) {
        const bool room = os_room(size + WIDE_BYTES, OS_READ | OS_WRITE);
        char *start = room ? os_map(0, size + WIDE_BYTES, OS_READ | OS_WRITE, false) : NULL;
        if (!start)
            continue;
        context->log_end = (uint64_t)start + WIDE_BYTES + size;
        context->log = (uint64_t)start + WIDE_BYTES;
        __atomic_store_n(&context->log_start, context->log, __ATOMIC_RELEASE); /* last, see furnish in context.c */
        return true;
    }
    return false;
}

void log_destroy(struct context *context) {
    os_unmap(wide(context), context->log_end - context->log_start + WIDE_BYTES);
}

struct record log_record(uint64_t end) {
    const struct trailer *trailer = (const struct trailer *)(end - sizeof *trailer);
    const size_t size = trailer->size & ((1ull << KIND_SHIFT) - 1);
    uint64_t *data = (uint64_t *)((uintptr_t)trailer - ((size + 7) & ~(size_t)7));
    return (struct record){data, size, trailer->operand, (enum log_kind)(trailer->size >> KIND_SHIFT)};
}

bool log_has_room(const struct context *context, size_t size) {
    return context->log + size + sizeof(uint64_t) + sizeof(struct trailer) <= context->log_end;
}

void log_close(struct context *context, enum log_kind kind, uint64_t operand, size_t size) {
    const size_t padded = (size + 7) & ~(size_t)7;
    *(struct trailer *)(context->log + padded) = (struct trailer){operand, size | (uint64_t)kind << KIND_SHIFT};
    context->log += padded + sizeof(struct trailer);
    if (context->log - context->log_start > context->log_peak)
        context->log_peak = context->log - context->log_start;
}

static bool append(struct context *context, enum log_kind kind, uint64_t operand, const void *data, size_t size) {
    size_t padded = (size + 7) & ~(size_t)7;
    if (context->log + padded + sizeof(struct trailer) > context->log_end)
        return false;
    size_t copied = safe_copy((void *)context->log, data, size);
    if (kind == LOG_BYTES && copied == 0) { /* not mapped: it will fault, unless a mask spares the bytes of this page */
        const size_t spared = -operand & (OS_PAGE - 1);
        return !spared || spared >= size ||
               append(context, kind, operand + spared, (const char *)data + spared, size - spared);
    }
    log_close(context, kind, operand, copied);
    return true;
}

bool log_operation(struct context *context, enum log_kind kind, uint64_t operand, const uint64_t *data, size_t words) {
    if (kind == LOG_DEFERRED_UNMAP || kind == LOG_FREED || kind == LOG_ALTERED) /* that C sees the commit */
        context->deferred++;
    return append(context, kind, operand, data, words * sizeof *data);
}

/* Before `size` bytes at `address`, which begin in `granule`, change. */
static bool log_granule(struct context *context, uint64_t granule, uintptr_t address, size_t size) {
    uint64_t tag = granule | context->epoch;
    uint64_t *near = &narrow(context)[granule & (FILTER_ENTRIES - 1)];
    uint64_t *far = &wide(context)[(granule * 0x9e3779b97f4a7c15ull) >> 48 & (WIDE_ENTRIES - 1)];
    if (*near != tag && *far != tag) {
        uintptr_t start = granule << GRANULE_SHIFT, end = start + GRANULE_BYTES + OVERHANG_BYTES;
        if (fresh_holds(context, start, end)) {
            *near = *far = tag;
            return true;
        }
        const uintptr_t until = private_until(address);
        if (until < end && arena_holds(address) &&
            address + size <= until) { /* behind it, in one epoch, are no block's bytes */
            start -= end - until;
            end = until;
        }
        /* Others may write next to us, or the mapping ends in the overhang: these bytes, every time. */
        if (until < end)
            return append(context, LOG_BYTES, address, (const void *)address, size);
        if (!append(context, LOG_BYTES, start, (const void *)start, end - start))
            return false;
        *far = tag;
    }
    *near = tag;
    return true;
}

/* How many of the bytes are mapped, from the first on: no store gets past memory that is not there.  For sizes that
 * cannot be true (a negative length), which would take for ever. */
static size_t mapped(uintptr_t address, size_t size) {
    uint8_t byte;
    for (uintptr_t page = (address & -OS_PAGE) + OS_PAGE; page - address < size; page += OS_PAGE)
        if (!safe_copy(&byte, (const void *)page, 1))
            return page - address;
    return size;
}

bool log_range(struct context *context, uintptr_t address, size_t size) {
    if (size > LOG_PROBED)
        size = mapped(address, size);
    const bool at_once = context->exact || size > GRANULE_BYTES; /* a store's granule is to be known to the filter */
    if (!size || (at_once && fresh_holds(context, address, address + size)))
        return true;
    /* Where others write, or nobody (what a loader maps over): the same for each granule, and asked once. */
    if (context->exact || (size > GRANULE_BYTES && !private_until(address)))
        return append(context, LOG_BYTES, address, (const void *)address, size);
    uintptr_t end = address + size;
    for (uintptr_t next; address < end; address = next) {
        next = ((address >> GRANULE_SHIFT) + 1) << GRANULE_SHIFT;
        if (end - address <= OVERHANG_BYTES || next > end) /* the overhang has the rest */
            next = end;
        if (!log_granule(context, address >> GRANULE_SHIFT, address, next - address))
            return false;
    }
    return true;
}

void log_new_epoch(struct context *context) {
    context->epoch += 1ull << EPOCH_SHIFT;
    if (context->epoch >= 1ull << EPOCH_SHIFT)
        return;
    for (unsigned i = 0; i < FILTER_ENTRIES; i++) /* wrapped */
        narrow(context)[i] = 0;
    for (unsigned i = 0; i < WIDE_ENTRIES; i++)
        wide(context)[i] = 0;
    for (unsigned i = 0; i < WORD_SLOTS; i++)
        ((struct word_slot *)((char *)context + WORDS_OFFSET))[i].epoch = 0;
    context->epoch = 1ull << EPOCH_SHIFT;
}

enum { SETTLED_BYTES = GRANULE_BYTES + OVERHANG_BYTES, SETTLED_MAP = SETTLED_BYTES / 8 };

static void restore_changed(uintptr_t address, const uint8_t *data) {
    const uint8_t *next = data + SETTLED_MAP;
    for (unsigned i = 0; i < SETTLED_BYTES; i++)
        if (data[i / 8] >> i % 8 & 1)
            safe_copy((void *)(address + i), next++, 1);
}

/* A granule's old bytes that are what memory holds tell nothing: their place takes the map of the others.  Where nearly
 * all have changed there is no room for it, and hardly a byte that is not the region's. */
static void settle(const struct record *record) {
    uint8_t now[SETTLED_BYTES], map[SETTLED_MAP] = {0}, *old = (uint8_t *)record->data;
    unsigned changed = 0;
    if (safe_copy(now, (const void *)record->operand, sizeof now) < sizeof now)
        return;
    for (unsigned i = 0; i < SETTLED_BYTES; i++)
        changed += now[i] != old[i];
    if (changed > SETTLED_BYTES - SETTLED_MAP)
        return;
    changed = 0;
    for (unsigned i = 0; i < SETTLED_BYTES; i++)
        if (now[i] != old[i]) {
            map[i / 8] |= (uint8_t)(1u << i % 8);
            now[changed++] = old[i]; /* behind what is still to be looked at */
        }
    for (unsigned i = 0; i < SETTLED_MAP; i++)
        old[i] = map[i];
    for (unsigned i = 0; i < changed; i++)
        old[SETTLED_MAP + i] = now[i];
    struct trailer *trailer = (struct trailer *)((uintptr_t)record->data + SETTLED_BYTES);
    trailer->size = SETTLED_BYTES | (uint64_t)LOG_CHANGED << KIND_SHIFT;
}

void log_settle(struct context *context) {
    if (context->exact)
        return;
    for (uint64_t at = context->log; at > context->log_start;) {
        const struct record record = log_record(at);
        at = (uint64_t)record.data;
        if (record.kind == LOG_BYTES && record.size == SETTLED_BYTES)
            settle(&record);
    }
    log_new_epoch(context);
}

/* False: it cannot be undone, and with it nothing before it. */
static bool undo(struct context *context, const struct record *record) {
    const uint64_t operand = record->operand, *data = record->data;
    switch (record->kind) {
    case LOG_BYTES:
        safe_copy((void *)operand, data, record->size);
        break;
    case LOG_UNMAP:
        os_unmap((void *)operand, data[0]);
        break;
    case LOG_CLOSE:
        os_close((int)operand);
        break;
    case LOG_OFFSET:
        position_undo(context, record);
        break;
    case LOG_SIGNAL_MASK:
        os_sigmask(OS_SIG_SETMASK, &operand, NULL);
        break;
    case LOG_SIGNAL_STACK:
        restore_signal_stack(context, &(struct os_stack){operand, (int32_t)data[0], 0, data[1]});
        break;
    case LOG_SIGNAL_ACTION:
        handlers_change((int)operand, (const struct os_sigaction *)data, &(struct os_sigaction){0});
        break;
    case LOG_BREAK:
        os_call(NR_brk, (long)operand, 0, 0, 0, 0, 0);
        break;
    case LOG_REMAP:
        os_call(NR_mremap, (long)data[2], (long)data[3], (long)data[1], MREMAP_MAYMOVE_FIXED, (long)data[0], 0);
        break;
    case LOG_FREED:
        if (arena_holds(operand))
            arena_revive(operand);
        else
            safe_copy((void *)operand, &data[1], sizeof data[1]);
        __attribute__((fallthrough));
    case LOG_DEFERRED_UNMAP:
        context->deferred--;
        context->deferred_bytes -= data[0];
        break;
    case LOG_WORD:
        return word_undo(record);
    case LOG_PUBLISHED:
        if (!published_undo(record))
            return false;
        context->deferred--;
        break;
    case LOG_ALLOCATED:
        allocator_free(operand);
        break;
    case LOG_ALTERED:
        strategy_retry_ends(context);
        context->deferred--;
        break;
    case LOG_NOTHING:
        break;
    case LOG_CHANGED:
        restore_changed(operand, (const uint8_t *)data);
        break;
    }
    return true;
}

void log_rollback(struct context *context, uint64_t to) {
    while (context->log > to) {
        const struct record record = log_record(context->log);
        if (!undo(context, &record)) {
            words_abandon(context, to);
            context->irreversible++;
            break;
        }
        context->log = (uint64_t)record.data;
    }
    if (context->published > context->log)
        context->published = context->log;
    fresh_follow(context);
    log_new_epoch(context);
}

void log_amend(struct context *context, uintptr_t address, const void *data, size_t size) {
    for (uint64_t at = context->log; at > context->log_start;) {
        const struct trailer *trailer = (const struct trailer *)(at - sizeof *trailer);
        const size_t held = trailer->size & ((1ull << KIND_SHIFT) - 1);
        at = (uint64_t)trailer - ((held + 7) & ~(size_t)7);
        for (size_t i = 0; trailer->size >> KIND_SHIFT == LOG_BYTES && i < size; i++)
            if (address + i - trailer->operand < held)
                ((uint8_t *)at)[address + i - trailer->operand] = ((const uint8_t *)data)[i];
    }
}

bool log_defers(const struct context *context, uintptr_t start, size_t size) {
    for (uint64_t at = context->deferred ? context->log : 0; at > context->log_start;) {
        const struct record record = log_record(at);
        at = (uint64_t)record.data;
        if (record.kind == LOG_DEFERRED_UNMAP && record.operand < start + size &&
            start < record.operand + record.data[0])
            return true;
    }
    return false;
}

bool log_touches(const struct context *context, uintptr_t start, size_t size) {
    for (uint64_t at = context->log; at > context->log_start;) {
        const struct record record = log_record(at);
        const bool bytes = record.kind == LOG_BYTES || record.kind == LOG_WORD, remap = record.kind == LOG_REMAP;
        const uint64_t begin = remap ? record.data[2] : record.operand;
        const uint64_t length = bytes ? record.size : remap ? record.data[3] : record.data[0];
        at = (uint64_t)record.data;
        if ((bytes || remap || record.kind == LOG_UNMAP) && begin < start + size && start < begin + length)
            return true;
    }
    return false;
}

void log_forget_descriptors(struct context *context, uint64_t first, uint64_t last, bool positions_only) {
    for (uint64_t at = context->log; at > context->log_start;) {
        const struct record record = log_record(at);
        struct trailer *trailer = (struct trailer *)(at - sizeof *trailer);
        at = (uint64_t)record.data;
        if ((record.kind == LOG_OFFSET || (record.kind == LOG_CLOSE && !positions_only)) &&
            (uint32_t)record.operand - first <= last - first)
            trailer->size = record.size | (uint64_t)LOG_NOTHING << KIND_SHIFT;
    }
}

static void run_deferred(struct context *context, bool blocks) {
    for (uint64_t at = context->log; at > context->log_start && context->deferred;) {
        const struct record record = log_record(at);
        struct trailer *trailer = (struct trailer *)(at - sizeof *trailer);
        at = (uint64_t)record.data;
        if (record.kind != LOG_DEFERRED_UNMAP && !(record.kind == LOG_FREED && blocks))
            continue;
        if (record.kind == LOG_FREED)
            allocator_free(record.operand);
        else
            os_unmap((void *)record.operand, record.data[0]);
        trailer->size = record.size | (uint64_t)LOG_NOTHING << KIND_SHIFT;
        context->deferred--;
        context->deferred_bytes -= record.data[0];
    }
}

void log_run_deferred(struct context *context) {
    run_deferred(context, false);
}

void log_commit(struct context *context) {
    if (context->deferred)
        run_deferred(context, true);
    if (is_altered(context))
        strategy_retry_ends(context);
    context->deferred = context->deferred_bytes = context->words = 0;
    if (context->log_peak > context->state->log_peak)
        context->state->log_peak = context->log_peak;
    uint64_t used = context->log - context->log_start;
    if (used > LOG_KEEP_BYTES && !context->state->sealed)
        os_discard((void *)((context->log_start + LOG_KEEP_BYTES + OS_PAGE - 1) & -OS_PAGE), used - LOG_KEEP_BYTES);
    context->log = context->published = context->log_start;
    fresh_follow(context);
    context->irreversible = 0;
}
