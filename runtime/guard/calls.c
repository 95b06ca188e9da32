/* A call of the allocator's that has been redirected (redirect.h), and comes natively:
 *
 *   malloc and its kin   from a site of a rule → a block of the arena; else the program's own function
 *   free, realloc …      of a block of the arena → here; of others → the program's own function
 *
 * What is wrong with a block that is freed is counted; what is no block, or no longer one, stays as it is. */
#include "guard/calls.h"

#include "region/log.h"
#include "region/rules.h"
#include "region/runtime.h"

enum { OUTER_WORDS = 128 };

/* The frames further out than the call itself are looked for by their return addresses, in order. */
static bool comes_through(const struct rule *rule, const uint64_t *stack) {
    enum { FIRST_OUTER = 1, OUTER = 3 };
    uint64_t words[OUTER_WORDS];
    const size_t count = rule->value[FIRST_OUTER] ? safe_copy(words, stack, sizeof words) / sizeof *words : 0;
    unsigned outer = FIRST_OUTER;
    for (size_t i = 1; i < count && outer < FIRST_OUTER + OUTER && rule->value[outer]; i++)
        outer += words[i] == rule->value[outer] + load_bias();
    return outer == FIRST_OUTER + OUTER || !rule->value[outer];
}

void request_find_site(struct request *request) {
    const uint64_t caller = request->stack[0] - load_bias();
    for (const struct rule *rule = rule_of(NULL, RULE_GUARD_SITE); rule; rule = rule_next(rule))
        if (caller - rule->address < rule->end - rule->address && comes_through(rule, request->stack)) {
            request->guard = true;
            request->below = rule->value[0] == GUARD_BELOW;
            return;
        }
}

bool request_is_allocation(struct request *request) {
    request->alignment = LEAST_ALIGNMENT;
    request->size = request->a;
    switch (request->call) {
    case CALL_CALLOC:
        return !__builtin_mul_overflow(request->a, request->b, &request->size);
    case CALL_MEMALIGN:
    case CALL_ALIGNED_ALLOC:
        request->alignment = request->a;
        request->size = request->b;
        break;
    case CALL_POSIX_MEMALIGN:
        request->alignment = request->b;
        request->size = request->c;
        return request->b >= sizeof(void *) && !(request->b & (request->b - 1));
    case CALL_REALLOC: /* to nothing: glibc frees, others give a block */
        request->size = request->b || payload_header.flags & HEADER_GLIBC ? request->b : 1;
        break;
    case CALL_REALLOCARRAY:
        return !__builtin_mul_overflow(request->b, request->c, &request->size);
    default:
        break;
    }
    return request->alignment && !(request->alignment & (request->alignment - 1));
}

uintptr_t request_allocate(const struct request *request) {
    return arena_allocate(request->size, request->alignment, request->below, request->call == CALL_CALLOC);
}

enum fault_class freeing_fault(uintptr_t address) {
    const struct block_record *block = arena_block(address);
    if (!block || block->start != address)
        return FAULT_INVALID_FREE;
    if (block->state != BLOCK_USED)
        return FAULT_DOUBLE_FREE;
    return arena_damaged(block) ? FAULT_HEAP_OVERFLOW : FAULT_NONE;
}

void copy_block(uintptr_t to, size_t size, uintptr_t from, size_t old) {
    safe_copy((void *)to, (const void *)from, size < old ? size : old);
}

/* ---- natively ---- */

struct answer {
    uint64_t next; /* function to go on to; 0: return */
    uint64_t result;
};

static uint64_t native(enum guarded_call call, uint64_t argument) {
    return ((uint64_t (*)(uint64_t))guards()->original[call])(argument);
}

static void free_natively(uintptr_t block) {
    const enum fault_class wrong = freeing_fault(block);
    if (wrong)
        not_guarded();
    if (wrong == FAULT_NONE || wrong == FAULT_HEAP_OVERFLOW)
        arena_free(block);
}

static struct answer reallocate_natively(struct request *request, uint64_t own) {
    const uint64_t old = request->a;
    const bool held = arena_holds(old);
    if (!held && (!request->guard || !request->size))
        return (struct answer){own, 0};
    const struct block_record *block = held ? arena_block(old) : NULL;
    const bool right = held && block && block->start == old && block->state == BLOCK_USED;
    const uint64_t size = right ? block->size : held ? 0 : native(CALL_USABLE_SIZE, old);
    uint64_t made = 0;
    if (request->size) {
        if (!(made = request_allocate(request)) && held)
            made = native(CALL_MALLOC, request->size);
        if (!made)
            return (struct answer){held ? 0 : own, 0};
        copy_block(made, request->size, old, size);
    }
    if (held)
        free_natively(old);
    else
        native(CALL_FREE, old);
    return (struct answer){0, made};
}

/* For entry.S: `frame` holds rdx, rsi, rdi as the caller has them, and where it returns to. */
struct answer guarded_native_call(enum guarded_call call, const uint64_t *frame);
struct answer guarded_native_call(enum guarded_call call, const uint64_t *frame) {
    struct request request = {.call = call, .a = frame[2], .b = frame[1], .c = frame[0], .stack = frame + 3};
    const uint64_t own = guards()->original[call];
    uint64_t made;
    if (call == CALL_USABLE_SIZE)
        return (struct answer){arena_holds(request.a) ? 0 : own,
                               arena_holds(request.a) ? arena_block(request.a)->size : 0};
    if (call == CALL_FREE || call == CALL_CFREE) {
        if (!arena_holds(request.a))
            return (struct answer){own, 0};
        free_natively(request.a);
        return (struct answer){0, 0};
    }
    request_find_site(&request);
    if (!request_is_allocation(&request))
        return (struct answer){own, 0};
    if ((call == CALL_REALLOC || call == CALL_REALLOCARRAY) && request.a)
        return reallocate_natively(&request, own);
    if (!request.guard || !(made = request_allocate(&request)))
        return (struct answer){own, 0};
    if (call != CALL_POSIX_MEMALIGN)
        return (struct answer){0, made};
    if (safe_copy((void *)request.a, &made, sizeof made) == sizeof made)
        return (struct answer){0, 0};
    arena_free(made);
    return (struct answer){own, 0};
}
