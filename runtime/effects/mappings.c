/* System calls that change mappings: undone, deferred, or final and counted. */
#include "effects/call.h"

#include "arch/x86_64/unistd.h"
#include "fault/budget.h"
#include "region/fresh.h"
#include "region/log.h"
#include "region/rescue.h"
#include "region/runtime.h"
#include "region/serve.h"

enum {
    MAP_PRIVATE = 2,
    MAP_TYPE = 0xf,
    MAP_FIXED = 0x10,
    MAP_FIXED_NOREPLACE = 0x100000,
    MADV_DONTNEED = 4,
    MADV_FREE = 8,
    DEFERRED_BYTES = 64 << 20, /* beyond, memory is given back at once and a rollback cannot have it again */
    REFILL_BYTES = 4 << 20,    /* contents saved before memory is discarded; beyond: not undone, counted */
};

static bool out_of_memory(struct context *context) {
    const uintptr_t pc = instruction_address(context);
    return raise_fault(context, FAULT_MEMORY_EXHAUSTION, pc, pc);
}

static uint64_t page_above(uint64_t address) {
    return (address + OS_PAGE - 1) & -OS_PAGE;
}

static void set_break(struct context *context, uint64_t current, uint64_t wish) {
    const bool logged = log_operation(context, LOG_BREAK, current, NULL, 0);
    const uint64_t now = (uint64_t)os_call(NR_brk, (long)wish, 0, 0, 0, 0, 0);
    if (now < current)
        fresh_forget(context, now, current);
    else if (logged)
        fresh_add(context, page_above(current), page_above(now));
    budget_memory(context, (int64_t)(now - current));
    skip(context, (long)now);
}

/* What was fresh stays so where it goes to; of the rest nobody knows here whether it is shared. */
static void after_remap(struct context *context, uint64_t from, uint64_t old_size, uint64_t to, uint64_t size) {
    const uint64_t data[] = {from, old_size, to, size};
    const bool fresh = old_size && fresh_holds(context, from, from + old_size);
    fresh_forget(context, from, from + old_size);
    fresh_forget(context, to, to + size); /* it may have been placed over such */
    if (log_operation(context, LOG_REMAP, 0, data, sizeof data / sizeof *data) && fresh)
        fresh_add(context, to, page_above(to + size));
    budget_memory(context, (int64_t)(size - old_size));
}

bool before_memory(struct context *context, uint64_t number) {
    uint64_t start = argument(context, 0), size = argument(context, 1), how = argument(context, 2);
    uint64_t current;
    bool code;
    switch (number) {
    case NR_munmap: /* code too: until the commit it stays where it is, and what we know of it true */
        code = ranges_doubt(start, size);
        if (!context->exact && context->deferred_bytes + size <= DEFERRED_BYTES && !(start & (OS_PAGE - 1)) && size &&
            log_operation(context, LOG_DEFERRED_UNMAP, start, &size, 1)) {
            context->deferred_bytes += size;
            budget_memory(context, -(int64_t)size);
            skip(context, 0);
        } else if (code) {
            give_way(context, REASON_UNKNOWN_CODE);
        } else if (context->exact && log_touches(context, start, size)) { /* others may be given these addresses */
            give_way(context, REASON_SHARED_STATE);
        } else {
            context->irreversible++;
            fresh_forget(context, start, start + size);
            budget_memory(context, -(int64_t)size);
        }
        return false;
    case NR_mmap:
        if (budget_exceeded(context, size))
            return out_of_memory(context);
        if (argument(context, 3) & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
            if (ranges_doubt(start, size) || log_defers(context, start, size)) {
                give_way(context, REASON_UNKNOWN_CODE);
                return false;
            }
            log_range(context, start, size < REFILL_BYTES ? size : 0);
            fresh_forget(context, start, start + size);
            context->irreversible++;
        }
        watch(context);
        return false;
    case NR_mprotect:
    case NR_pkey_mprotect:
        if (ranges_doubt(start, size))
            give_way(context, REASON_UNKNOWN_CODE);
        else
            context->irreversible++;
        return false;
    case NR_mremap:
        if (ranges_doubt(start, size)) {
            give_way(context, REASON_UNKNOWN_CODE);
            return false;
        }
        if (context->exact) { /* moved back, it could lie over what others have mapped meanwhile */
            give_way(context, REASON_SHARED_STATE);
            return false;
        }
        if (how > size && budget_exceeded(context, how - size))
            return out_of_memory(context);
        if (size > how) /* shrinks: the tail's contents */
            log_range(context, start + how, size - how < REFILL_BYTES ? size - how : 0);
        watch(context);
        return false;
    case NR_brk:
        if (start && context->exact) { /* others may move it on */
            give_way(context, REASON_SHARED_STATE);
            return false;
        }
        current = (uint64_t)os_call(NR_brk, 0, 0, 0, 0, 0, 0);
        if (start && start < current)
            log_range(context, start, current - start < REFILL_BYTES ? current - start : 0);
        if (start > current && budget_exceeded(context, start - current))
            return out_of_memory(context);
        if (start) /* there and then: its result tells whether there was memory */
            set_break(context, current, start);
        return false;
    case NR_madvise:
        if (how == MADV_DONTNEED || how == MADV_FREE) {
            log_range(context, start, size < REFILL_BYTES ? size : 0);
            context->irreversible += size >= REFILL_BYTES;
        }
        return false;
    default: /* shared memory segments */
        context->irreversible++;
        return false;
    }
}

void after_memory(struct context *context, uint64_t number, uint64_t result) {
    const uint64_t start = argument(context, 0), size = argument(context, 1), flags = argument(context, 3);
    if (result > -4096ull)
        return;
    if (number == NR_mremap) {
        after_remap(context, start, size, result, argument(context, 2));
        return;
    }
    if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && log_operation(context, LOG_UNMAP, result, &size, 1) &&
        (flags & MAP_TYPE) == MAP_PRIVATE)
        fresh_add(context, result, page_above(result + size));
    budget_memory(context, (int64_t)size);
}
